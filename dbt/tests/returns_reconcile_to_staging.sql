-- Every returned line of staging is in the mart once, and every total agrees to the cent.
with

catalog as (

    select
        'catalog' as sales_channel,
        count(*) as row_count,
        sum(return_quantity) as return_quantity,
        sum(return_amount) as return_amount,
        sum(return_tax_amount) as return_tax_amount,
        sum(fee_amount) as fee_amount,
        sum(return_shipping_amount) as return_shipping_amount,
        sum(net_loss_amount) as net_loss_amount
    from {{ ref('stg_accounting__catalog_returns') }}
    group by 1

),

web as (

    select
        'web' as sales_channel,
        count(*) as row_count,
        sum(return_quantity) as return_quantity,
        sum(return_amount) as return_amount,
        sum(return_tax_amount) as return_tax_amount,
        sum(fee_amount) as fee_amount,
        sum(return_shipping_amount) as return_shipping_amount,
        sum(net_loss_amount) as net_loss_amount
    from {{ ref('stg_accounting__web_returns') }}
    group by 1

),

mart as (

    select
        sales_channel,
        count(*) as row_count,
        sum(return_quantity) as return_quantity,
        sum(return_amount) as return_amount,
        sum(return_tax_amount) as return_tax_amount,
        sum(fee_amount) as fee_amount,
        sum(return_shipping_amount) as return_shipping_amount,
        sum(net_loss_amount) as net_loss_amount
    from {{ ref('fct_returns') }}
    group by 1

),

staging as (

    select * from catalog
    union all
    select * from web

),

only_in_staging as (

    select * from staging
    except
    select * from mart

),

only_in_mart as (

    select * from mart
    except
    select * from staging

),

final as (

    select * from only_in_staging
    union all
    select * from only_in_mart

)

select * from final
