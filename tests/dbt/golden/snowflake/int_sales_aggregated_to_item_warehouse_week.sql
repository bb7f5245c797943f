create or replace   view FLOE.intermediate.int_sales_aggregated_to_item_warehouse_week
  as (
    with
sales as (
    select * from FLOE.build.fct_sales
),
dates as (
    select * from FLOE.intermediate.int_dates_assigned_to_weeks
),
-- A sale without a day belongs to no week.
final as (
    select
        dates.week_start_date,
        sales.warehouse_sk,
        sales.item_sk,
        count(*) as sale_lines,
        cast(sum(coalesce(sales.quantity, 0)) as bigint) as quantity_sold,
        cast(sum(coalesce(sales.gross_sales_amount, 0)) as numeric(38, 2)) as gross_sales_amount
    from sales
    inner join dates on sales.sold_date_sk = dates.date_sk
    group by 1, 2, 3
)
select * from final
  );
