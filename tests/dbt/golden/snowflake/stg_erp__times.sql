create or replace   view FLOE.staging.stg_erp__times
  as (
    with
source as (
    select * from FLOE.raw_erp.time_dim
),
final as (
    select
        -- ids
        cast(t_time_sk as bigint) as time_sk,
        cast(t_time_id as varchar) as time_id,
        -- strings
        cast(t_am_pm as varchar) as am_pm,
        cast(t_shift as varchar) as shift,
        cast(t_sub_shift as varchar) as sub_shift,
        cast(t_meal_time as varchar) as meal_time,
        -- numerics
        cast(t_time as bigint) as second_of_day,
        cast(t_hour as bigint) as hour,
        cast(t_minute as bigint) as minute,
        cast(t_second as bigint) as second,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
