create or replace   view FLOE.staging.stg_crm__household_demographics
  as (
    with
source as (
    select * from FLOE.raw_crm.household_demographics
),
final as (
    select
        -- ids
        cast(hd_demo_sk as bigint) as household_demographics_sk,
        cast(hd_income_band_sk as bigint) as income_band_sk,
        -- strings
        cast(hd_buy_potential as varchar) as buy_potential,
        -- numerics
        cast(hd_dep_count as bigint) as dependent_count,
        cast(hd_vehicle_count as bigint) as vehicle_count,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
