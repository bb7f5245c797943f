create or replace transient table FLOE.build.mart_executive_daily
  (
    date date not null,
    sales_channel varchar not null,
    orders bigint not null,
    customers bigint not null,
    gross_sales_amount numeric(38, 2) not null,
    return_amount numeric(38, 2) not null,
    net_sales_amount numeric(38, 2) not null,
    net_profit_amount numeric(38, 2) not null,
    net_margin_ratio numeric(18, 4)
    )
    as (
    select date, sales_channel, orders, customers, gross_sales_amount, return_amount, net_sales_amount, net_profit_amount, net_margin_ratio
    from (
        with
sales as (
    select * from FLOE.build.fct_sales
),
returns as (
    select * from FLOE.build.fct_returns
),
sold as (
    select
        sold_date as date,
        sales_channel,
        count(distinct order_number) as orders,
        count(distinct nullif(customer_sk, -1)) as customers,
        sum(coalesce(gross_sales_amount, 0)) as gross_sales_amount,
        sum(coalesce(net_profit_amount, 0)) as net_profit_amount
    from sales
    where sold_date is not null
    group by 1, 2
),
returned as (
    select
        returned_date as date,
        sales_channel,
        sum(coalesce(return_amount, 0)) as return_amount,
        sum(coalesce(net_loss_amount, 0)) as net_loss_amount
    from returns
    where returned_date is not null
    group by 1, 2
),
-- A return counts on the day it came back, which may be a day without sales.
joined as (
    select
        coalesce(sold.date, returned.date) as date,
        coalesce(sold.sales_channel, returned.sales_channel) as sales_channel,
        coalesce(sold.orders, 0) as orders,
        coalesce(sold.customers, 0) as customers,
        coalesce(sold.gross_sales_amount, 0) as gross_sales_amount,
        coalesce(returned.return_amount, 0) as return_amount,
        coalesce(sold.net_profit_amount, 0) - coalesce(returned.net_loss_amount, 0) as net_profit_amount
    from sold
    full outer join returned
        on sold.date = returned.date and sold.sales_channel = returned.sales_channel
),
final as (
    select
        date,
        sales_channel,
        orders,
        customers,
        cast(gross_sales_amount as numeric(38, 2)) as gross_sales_amount,
        cast(return_amount as numeric(38, 2)) as return_amount,
        cast(gross_sales_amount - return_amount as numeric(38, 2)) as net_sales_amount,
        cast(net_profit_amount as numeric(38, 2)) as net_profit_amount,
        cast(
            net_profit_amount / nullif(gross_sales_amount - return_amount, 0) as numeric(18, 4)
        ) as net_margin_ratio
    from joined
)
select * from final
    ) as model_subq
    );
