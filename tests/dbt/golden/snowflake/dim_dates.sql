create or replace transient table FLOE.build.dim_dates
  (
    date_sk bigint not null,
    date date not null,
    week_start_date date not null,
    month_start_date date not null,
    quarter_name varchar not null,
    year bigint not null,
    month_of_year bigint not null,
    day_of_week bigint not null,
    day_name varchar not null,
    is_holiday boolean not null,
    fiscal_year bigint not null,
    fiscal_quarter bigint not null,
    fiscal_week bigint not null
    )
    as (
    select date_sk, date, week_start_date, month_start_date, quarter_name, year, month_of_year, day_of_week, day_name, is_holiday, fiscal_year, fiscal_quarter, fiscal_week
    from (
        with
dates as (
    select * from FLOE.intermediate.int_dates_assigned_to_weeks
),
final as (
    select
        date_sk,
        date,
        week_start_date,
        month_start_date,
        quarter_name,
        year,
        month_of_year,
        day_of_week,
        day_name,
        is_holiday,
        fiscal_year,
        fiscal_quarter,
        fiscal_week
    from dates
)
select * from final
    ) as model_subq
    );
