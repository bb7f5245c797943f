create or replace   view FLOE.intermediate.int_weeks_observed
  as (
    with
dates as (
    select * from FLOE.intermediate.int_dates_assigned_to_weeks
),
sales as (
    select * from FLOE.build.fct_sales
),
period as (
    select
        min(sold_date) as first_date,
        max(sold_date) as last_date
    from sales
),
-- Days on which sales could have been recorded: between the first and the last sale of all.
final as (
    select
        dates.week_start_date,
        count(case when dates.date between period.first_date and period.last_date then 1 end) as days_observed
    from dates
    cross join period
    group by 1
)
select * from final
  );
