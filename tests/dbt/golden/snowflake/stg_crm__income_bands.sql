create or replace   view FLOE.staging.stg_crm__income_bands
  as (
    with
source as (
    select * from FLOE.raw_crm.income_band
),
final as (
    select
        -- ids
        cast(ib_income_band_sk as bigint) as income_band_sk,
        -- numerics
        cast(ib_lower_bound as bigint) as income_lower_bound,
        cast(ib_upper_bound as bigint) as income_upper_bound,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
