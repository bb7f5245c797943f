with

returns as (

    select * from {{ ref('int_returns_matched_to_sales') }}

),

dates as (

    select * from {{ ref('stg_erp__dates') }}

),

customers as (

    select * from {{ ref('dim_customers') }}

),

final as (

    select
        returns.return_key,
        returns.sale_key,
        returns.sales_channel,
        returns.order_number,
        returns.item_sk,
        coalesce(customers.customer_sk, -1) as customer_sk,
        coalesce(returns.reason_sk, -1) as reason_sk,
        returns.returned_date_sk,
        dates.date as returned_date,
        returns.return_quantity,
        returns.return_amount,
        returns.return_tax_amount,
        returns.fee_amount,
        returns.return_shipping_amount,
        returns.net_loss_amount,
        returns.updated_at
    from returns
    left join dates on returns.returned_date_sk = dates.date_sk
    left join customers on returns.refunded_customer_sk = customers.customer_sk

)

select * from final
