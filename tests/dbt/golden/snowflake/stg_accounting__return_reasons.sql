create or replace   view FLOE.staging.stg_accounting__return_reasons
  as (
    with
source as (
    select * from FLOE.raw_accounting.reason
),
final as (
    select
        -- ids
        cast(r_reason_sk as bigint) as reason_sk,
        cast(r_reason_id as varchar) as reason_id,
        -- strings
        cast(r_reason_desc as varchar) as reason_description,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
