create or replace   view FLOE.staging.stg_crm__customer_demographics
  as (
    with
source as (
    select * from FLOE.raw_crm.customer_demographics
),
final as (
    select
        -- ids
        cast(cd_demo_sk as bigint) as customer_demographics_sk,
        -- strings
        cast(cd_gender as varchar) as gender,
        cast(cd_marital_status as varchar) as marital_status,
        cast(cd_education_status as varchar) as education_status,
        cast(cd_credit_rating as varchar) as credit_rating,
        -- numerics
        cast(cd_purchase_estimate as bigint) as purchase_estimate,
        cast(cd_dep_count as bigint) as dependent_count,
        cast(cd_dep_employed_count as bigint) as employed_dependent_count,
        cast(cd_dep_college_count as bigint) as college_dependent_count,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
