create or replace transient table FLOE.build.fct_returns
  (
    return_key varchar not null,
    sale_key varchar,
    sales_channel varchar not null,
    order_number bigint not null,
    item_sk bigint not null,
    customer_sk bigint not null,
    reason_sk bigint not null,
    returned_date_sk bigint,
    returned_date date,
    return_quantity bigint,
    return_amount numeric(38, 2),
    return_tax_amount numeric(38, 2),
    fee_amount numeric(38, 2),
    return_shipping_amount numeric(38, 2),
    net_loss_amount numeric(38, 2),
    updated_at timestamp not null
    )
    as (
    select return_key, sale_key, sales_channel, order_number, item_sk, customer_sk, reason_sk, returned_date_sk, returned_date, return_quantity, return_amount, return_tax_amount, fee_amount, return_shipping_amount, net_loss_amount, updated_at
    from (
        with
returns as (
    select * from FLOE.intermediate.int_returns_matched_to_sales
),
dates as (
    select * from FLOE.staging.stg_erp__dates
),
customers as (
    select * from FLOE.build.dim_customers
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
    ) as model_subq
    );
