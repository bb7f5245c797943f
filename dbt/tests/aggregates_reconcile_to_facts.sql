-- Every aggregate holds what the facts hold, to the unit and the cent: the daily and the weekly mart and
-- the cohorts what has a day, the others everything.
with

sales as (

    select
        coalesce(sum(gross_sales_amount), 0) as gross_sales_amount,
        coalesce(sum(net_profit_amount), 0) as net_profit_amount,
        coalesce(sum(return_amount), 0) as sale_return_amount,
        coalesce(sum(case when sold_date is not null then quantity end), 0) as dated_quantity,
        coalesce(sum(case when sold_date is not null then gross_sales_amount end), 0) as dated_gross_sales,
        coalesce(sum(case when sold_date is not null then net_profit_amount end), 0) as dated_net_profit,
        coalesce(
            sum(case when sold_date is not null and customer_sk <> -1 then gross_sales_amount end), 0
        ) as cohort_gross_sales_amount
    from {{ ref('fct_sales') }}

),

returns as (

    select
        coalesce(sum(return_amount), 0) as return_amount,
        coalesce(sum(net_loss_amount), 0) as net_loss_amount,
        coalesce(sum(case when sale_key is not null then return_amount end), 0) as matched_return_amount,
        coalesce(sum(case when returned_date is not null then return_amount end), 0) as dated_return,
        coalesce(sum(case when returned_date is not null then net_loss_amount end), 0) as dated_net_loss
    from {{ ref('fct_returns') }}

),

weekly as (

    select
        coalesce(sum(quantity_sold), 0) as weekly_quantity,
        coalesce(sum(gross_sales_amount), 0) as weekly_gross_sales_amount
    from {{ ref('fct_weekly_sales_inventory') }}

),

daily as (

    select
        coalesce(sum(gross_sales_amount), 0) as daily_gross_sales_amount,
        coalesce(sum(return_amount), 0) as daily_return_amount,
        coalesce(sum(net_sales_amount), 0) as daily_net_sales_amount,
        coalesce(sum(net_profit_amount), 0) as daily_net_profit_amount
    from {{ ref('mart_executive_daily') }}

),

promotions as (

    select
        coalesce(sum(gross_sales_amount), 0) as promotion_gross_sales_amount,
        coalesce(sum(net_profit_amount), 0) as promotion_net_profit_amount
    from {{ ref('fct_promotion_performance') }}

),

customers as (

    select
        coalesce(sum(gross_sales_amount), 0) as customer_gross_sales_amount,
        coalesce(sum(return_amount), 0) as customer_return_amount,
        coalesce(sum(net_profit_amount), 0) as customer_net_profit_amount
    from {{ ref('mart_customer_lifetime_value') }}

),

cohorts as (

    select coalesce(sum(gross_sales_amount), 0) as mart_cohort_gross_sales_amount
    from {{ ref('mart_customer_cohorts') }}

),

final as (

    select *
    from sales
    cross join returns
    cross join weekly
    cross join daily
    cross join promotions
    cross join customers
    cross join cohorts

)

select * from final
where
    sale_return_amount <> matched_return_amount
    or weekly_quantity <> dated_quantity
    or weekly_gross_sales_amount <> dated_gross_sales
    or daily_gross_sales_amount <> dated_gross_sales
    or daily_return_amount <> dated_return
    or daily_net_sales_amount <> dated_gross_sales - dated_return
    or daily_net_profit_amount <> dated_net_profit - dated_net_loss
    or promotion_gross_sales_amount <> gross_sales_amount
    or promotion_net_profit_amount <> net_profit_amount
    or customer_gross_sales_amount <> gross_sales_amount
    or customer_return_amount <> return_amount
    or customer_net_profit_amount <> net_profit_amount - net_loss_amount
    or mart_cohort_gross_sales_amount <> cohort_gross_sales_amount
