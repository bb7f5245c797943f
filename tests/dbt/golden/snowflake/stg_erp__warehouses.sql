create or replace   view FLOE.staging.stg_erp__warehouses
  as (
    with
source as (
    select * from FLOE.raw_erp.warehouse
),
final as (
    select
        -- ids
        cast(w_warehouse_sk as bigint) as warehouse_sk,
        cast(w_warehouse_id as varchar) as warehouse_id,
        -- strings
        cast(w_warehouse_name as varchar) as warehouse_name,
        cast(w_street_number as varchar) as street_number,
        cast(w_street_name as varchar) as street_name,
        cast(w_street_type as varchar) as street_type,
        cast(w_suite_number as varchar) as suite_number,
        cast(w_city as varchar) as city,
        cast(w_county as varchar) as county,
        cast(w_state as varchar) as state,
        cast(w_zip as varchar) as zip_code,
        cast(w_country as varchar) as country,
        -- numerics
        cast(w_warehouse_sq_ft as bigint) as square_feet,
        cast(w_gmt_offset as numeric(5, 2)) as utc_offset_hours,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
