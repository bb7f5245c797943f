create or replace   view FLOE.intermediate.int_dates_assigned_to_weeks
  as (
    with
dates as (
    select * from FLOE.staging.stg_erp__dates
),
-- Weeks start on Monday. The day of the week is the source's (0 is Sunday), so that no session
-- setting of the warehouse decides what a week is.
weeks as (
    select
        *,
        cast(dateadd(day, -((day_of_week + 6) % 7), date) as date) as week_start_date
    from dates
),
final as (
    select
        date_sk,
        date,
        week_start_date,
        cast(dateadd(day, 1 - day_of_month, date) as date) as month_start_date,
        quarter_name,
        year,
        month_of_year,
        day_of_week,
        day_name,
        is_holiday,
        fiscal_year,
        fiscal_quarter,
        fiscal_week
    from weeks
)
select * from final
  );
