create or replace transient table FLOE.build.mart_customer_cohorts
  (
    cohort_month date not null,
    months_since_first_sale bigint not null,
    customers bigint not null,
    orders bigint not null,
    gross_sales_amount numeric(38, 2) not null
    )
    as (
    select cohort_month, months_since_first_sale, customers, orders, gross_sales_amount
    from (
        with
sales as (
    select * from FLOE.build.fct_sales
),
dates as (
    select * from FLOE.build.dim_dates
),
dated as (
    select
        sales.customer_sk,
        sales.sales_channel || '-' || cast(sales.order_number as varchar) as order_key,
        sales.gross_sales_amount,
        dates.month_start_date,
        dates.year * 12 + dates.month_of_year as month_number
    from sales
    inner join dates on sales.sold_date_sk = dates.date_sk
    where sales.customer_sk <> -1
),
-- A customer belongs to the month of the first sale.
cohorts as (
    select
        customer_sk,
        min(month_start_date) as cohort_month,
        min(month_number) as cohort_month_number
    from dated
    group by 1
),
final as (
    select
        cohorts.cohort_month,
        dated.month_number - cohorts.cohort_month_number as months_since_first_sale,
        count(distinct dated.customer_sk) as customers,
        count(distinct dated.order_key) as orders,
        cast(sum(coalesce(dated.gross_sales_amount, 0)) as numeric(38, 2)) as gross_sales_amount
    from dated
    inner join cohorts on dated.customer_sk = cohorts.customer_sk
    group by 1, 2
)
select * from final
    ) as model_subq
    );
