with

dates as (

    select * from {{ ref('stg_erp__dates') }}

),

-- Weeks start on Monday. The day of the week is the source's (0 is Sunday), so that no session
-- setting of the warehouse decides what a week is.
weeks as (

    select
        *,
        {{ add_days('date', '-((day_of_week + 6) % 7)') }} as week_start_date
    from dates

),

final as (

    select
        date_sk,
        date,
        week_start_date,
        {{ add_days('date', '1 - day_of_month') }} as month_start_date,
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
