create or replace transient table FLOE.build.mart_customer_lifetime_value
  (
    customer_sk bigint not null,
    first_sold_date date,
    last_sold_date date,
    orders bigint not null,
    gross_sales_amount numeric(38, 2) not null,
    return_amount numeric(38, 2) not null,
    net_sales_amount numeric(38, 2) not null,
    net_profit_amount numeric(38, 2) not null
    )
    as (
    select customer_sk, first_sold_date, last_sold_date, orders, gross_sales_amount, return_amount, net_sales_amount, net_profit_amount
    from (
        with
customers as (
    select * from FLOE.build.dim_customers
),
sales as (
    select * from FLOE.build.fct_sales
),
returns as (
    select * from FLOE.build.fct_returns
),
sold as (
    select
        customer_sk,
        min(sold_date) as first_sold_date,
        max(sold_date) as last_sold_date,
        count(distinct sales_channel || '-' || cast(order_number as varchar)) as orders,
        sum(coalesce(gross_sales_amount, 0)) as gross_sales_amount,
        sum(coalesce(net_profit_amount, 0)) as net_profit_amount
    from sales
    group by 1
),
returned as (
    select
        customer_sk,
        sum(coalesce(return_amount, 0)) as return_amount,
        sum(coalesce(net_loss_amount, 0)) as net_loss_amount
    from returns
    group by 1
),
final as (
    select
        customers.customer_sk,
        sold.first_sold_date,
        sold.last_sold_date,
        coalesce(sold.orders, 0) as orders,
        cast(coalesce(sold.gross_sales_amount, 0) as numeric(38, 2)) as gross_sales_amount,
        cast(coalesce(returned.return_amount, 0) as numeric(38, 2)) as return_amount,
        cast(
            coalesce(sold.gross_sales_amount, 0) - coalesce(returned.return_amount, 0) as numeric(38, 2)
        ) as net_sales_amount,
        cast(
            coalesce(sold.net_profit_amount, 0) - coalesce(returned.net_loss_amount, 0) as numeric(38, 2)
        ) as net_profit_amount
    from customers
    left join sold on customers.customer_sk = sold.customer_sk
    left join returned on customers.customer_sk = returned.customer_sk
)
select * from final
    ) as model_subq
    );
