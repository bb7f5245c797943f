-- Every sale line of staging is in the mart once, and every total agrees to the cent.
with

catalog as (

    select
        'catalog' as sales_channel,
        count(*) as row_count,
        sum(quantity) as quantity,
        sum(wholesale_cost) as wholesale_cost,
        sum(list_price) as list_price,
        sum(sales_price) as sales_price,
        sum(discount_amount) as discount_amount,
        sum(gross_sales_amount) as gross_sales_amount,
        sum(wholesale_amount) as wholesale_amount,
        sum(coupon_amount) as coupon_amount,
        sum(tax_amount) as tax_amount,
        sum(shipping_amount) as shipping_amount,
        sum(net_paid_amount) as net_paid_amount,
        sum(net_profit_amount) as net_profit_amount
    from {{ ref('stg_erp__catalog_sales') }}
    group by 1

),

web as (

    select
        'web' as sales_channel,
        count(*) as row_count,
        sum(quantity) as quantity,
        sum(wholesale_cost) as wholesale_cost,
        sum(list_price) as list_price,
        sum(sales_price) as sales_price,
        sum(discount_amount) as discount_amount,
        sum(gross_sales_amount) as gross_sales_amount,
        sum(wholesale_amount) as wholesale_amount,
        sum(coupon_amount) as coupon_amount,
        sum(tax_amount) as tax_amount,
        sum(shipping_amount) as shipping_amount,
        sum(net_paid_amount) as net_paid_amount,
        sum(net_profit_amount) as net_profit_amount
    from {{ ref('stg_erp__web_sales') }}
    group by 1

),

mart as (

    select
        sales_channel,
        count(*) as row_count,
        sum(quantity) as quantity,
        sum(wholesale_cost) as wholesale_cost,
        sum(list_price) as list_price,
        sum(sales_price) as sales_price,
        sum(discount_amount) as discount_amount,
        sum(gross_sales_amount) as gross_sales_amount,
        sum(wholesale_amount) as wholesale_amount,
        sum(coupon_amount) as coupon_amount,
        sum(tax_amount) as tax_amount,
        sum(shipping_amount) as shipping_amount,
        sum(net_paid_amount) as net_paid_amount,
        sum(net_profit_amount) as net_profit_amount
    from {{ ref('fct_sales') }}
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
