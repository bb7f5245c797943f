create or replace   view FLOE.staging.stg_erp__dates
  as (
    with
source as (
    select * from FLOE.raw_erp.date_dim
),
final as (
    select
        -- ids
        cast(d_date_sk as bigint) as date_sk,
        cast(d_date_id as varchar) as date_id,
        cast(d_first_dom as bigint) as first_of_month_date_sk,
        cast(d_last_dom as bigint) as last_of_month_date_sk,
        cast(d_same_day_ly as bigint) as same_day_last_year_date_sk,
        cast(d_same_day_lq as bigint) as same_day_last_quarter_date_sk,
        -- strings
        cast(d_day_name as varchar) as day_name,
        cast(d_quarter_name as varchar) as quarter_name,
        -- numerics
        cast(d_month_seq as bigint) as month_number,
        cast(d_week_seq as bigint) as week_number,
        cast(d_quarter_seq as bigint) as quarter_number,
        cast(d_year as bigint) as year,
        cast(d_dow as bigint) as day_of_week,
        cast(d_moy as bigint) as month_of_year,
        cast(d_dom as bigint) as day_of_month,
        cast(d_qoy as bigint) as quarter_of_year,
        cast(d_fy_year as bigint) as fiscal_year,
        cast(d_fy_quarter_seq as bigint) as fiscal_quarter,
        cast(d_fy_week_seq as bigint) as fiscal_week,
        -- booleans
        d_holiday = 'Y' as is_holiday,
        d_weekend = 'Y' as is_weekend,
        d_following_holiday = 'Y' as is_day_after_holiday,
        d_current_day = 'Y' as is_current_day,
        d_current_week = 'Y' as is_current_week,
        d_current_month = 'Y' as is_current_month,
        d_current_quarter = 'Y' as is_current_quarter,
        d_current_year = 'Y' as is_current_year,
        -- dates
        cast(d_date as date) as date,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
