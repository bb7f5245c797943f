with

source as (

    select * from {{ read_source('crm', 'household_demographics', key=['hd_demo_sk']) }}

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
        {{ utc_timestamp('_airbyte_extracted_at') }} as loaded_at
    from source

)

select * from final
