with

catalog_returns as (

    select
        'catalog' as sales_channel,
        order_number,
        item_sk,
        refunded_customer_sk,
        returning_customer_sk,
        reason_sk,
        returned_date_sk,
        return_quantity,
        return_amount,
        return_tax_amount,
        fee_amount,
        return_shipping_amount,
        net_loss_amount,
        updated_at
    from {{ ref('stg_accounting__catalog_returns') }}

),

web_returns as (

    select
        'web' as sales_channel,
        order_number,
        item_sk,
        refunded_customer_sk,
        returning_customer_sk,
        reason_sk,
        returned_date_sk,
        return_quantity,
        return_amount,
        return_tax_amount,
        fee_amount,
        return_shipping_amount,
        net_loss_amount,
        updated_at
    from {{ ref('stg_accounting__web_returns') }}

),

sales as (

    select * from {{ ref('int_sales_unioned') }}

),

unioned as (

    select * from catalog_returns
    union all
    select * from web_returns

),

-- A return whose sale has not arrived yet is kept, without a sale.
final as (

    select
        unioned.sales_channel || '-' || cast(unioned.order_number as varchar)
        || '-' || cast(unioned.item_sk as varchar) as return_key,
        sales.sale_key,
        unioned.*
    from unioned
    left join sales
        on
            unioned.sales_channel = sales.sales_channel
            and unioned.order_number = sales.order_number
            and unioned.item_sk = sales.item_sk

)

select * from final
