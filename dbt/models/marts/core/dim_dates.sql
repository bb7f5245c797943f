with

dates as (

    select * from {{ ref('int_dates_assigned_to_weeks') }}

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
