create or replace transient table FLOE.build.fct_promotion_performance
  (
    promotion_sk bigint not null,
    promotion_name varchar,
    start_date date,
    end_date date,
    promotion_cost numeric(38, 2),
    sale_lines bigint not null,
    orders bigint not null,
    customers bigint not null,
    quantity_sold bigint not null,
    gross_sales_amount numeric(38, 2) not null,
    discount_amount numeric(38, 2) not null,
    coupon_amount numeric(38, 2) not null,
    return_amount numeric(38, 2) not null,
    net_profit_amount numeric(38, 2) not null
    )
    as (
    select promotion_sk, promotion_name, start_date, end_date, promotion_cost, sale_lines, orders, customers, quantity_sold, gross_sales_amount, discount_amount, coupon_amount, return_amount, net_profit_amount
    from (
        with
promotions as (
    select * from FLOE.build.dim_promotions
),
sales as (
    select * from FLOE.build.fct_sales
),
returns as (
    select * from FLOE.build.fct_returns
),
returned as (
    select
        sale_key,
        sum(coalesce(return_amount, 0)) as return_amount
    from returns
    where sale_key is not null
    group by 1
),
sold as (
    select
        sales.promotion_sk,
        count(*) as sale_lines,
        count(distinct sales.sales_channel || '-' || cast(sales.order_number as varchar)) as orders,
        count(distinct nullif(sales.customer_sk, -1)) as customers,
        sum(coalesce(sales.quantity, 0)) as quantity_sold,
        sum(coalesce(sales.gross_sales_amount, 0)) as gross_sales_amount,
        sum(coalesce(sales.discount_amount, 0)) as discount_amount,
        sum(coalesce(sales.coupon_amount, 0)) as coupon_amount,
        sum(coalesce(sales.net_profit_amount, 0)) as net_profit_amount,
        sum(coalesce(returned.return_amount, 0)) as return_amount
    from sales
    left join returned on sales.sale_key = returned.sale_key
    group by 1
),
-- A promotion that sold nothing is there, with zeros.
final as (
    select
        promotions.promotion_sk,
        promotions.promotion_name,
        promotions.start_date,
        promotions.end_date,
        promotions.promotion_cost,
        coalesce(sold.sale_lines, 0) as sale_lines,
        coalesce(sold.orders, 0) as orders,
        coalesce(sold.customers, 0) as customers,
        cast(coalesce(sold.quantity_sold, 0) as bigint) as quantity_sold,
        cast(coalesce(sold.gross_sales_amount, 0) as numeric(38, 2)) as gross_sales_amount,
        cast(coalesce(sold.discount_amount, 0) as numeric(38, 2)) as discount_amount,
        cast(coalesce(sold.coupon_amount, 0) as numeric(38, 2)) as coupon_amount,
        cast(coalesce(sold.return_amount, 0) as numeric(38, 2)) as return_amount,
        cast(coalesce(sold.net_profit_amount, 0) as numeric(38, 2)) as net_profit_amount
    from promotions
    left join sold on promotions.promotion_sk = sold.promotion_sk
)
select * from final
    ) as model_subq
    );
