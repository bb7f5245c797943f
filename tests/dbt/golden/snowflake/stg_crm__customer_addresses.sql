create or replace   view FLOE.staging.stg_crm__customer_addresses
  as (
    with
source as (
    select * from FLOE.raw_crm.customer_address
),
final as (
    select
        -- ids
        cast(ca_address_sk as bigint) as address_sk,
        cast(ca_address_id as varchar) as address_id,
        -- strings
        cast(ca_street_number as varchar) as street_number,
        cast(ca_street_name as varchar) as street_name,
        cast(ca_street_type as varchar) as street_type,
        cast(ca_suite_number as varchar) as suite_number,
        cast(ca_city as varchar) as city,
        cast(ca_county as varchar) as county,
        cast(ca_state as varchar) as state,
        cast(ca_zip as varchar) as zip_code,
        cast(ca_country as varchar) as country,
        cast(ca_location_type as varchar) as location_type,
        -- numerics
        cast(ca_gmt_offset as numeric(5, 2)) as utc_offset_hours,
        -- timestamps
        cast(convert_timezone('UTC', updated_at) as timestamp_ntz) as updated_at,
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
