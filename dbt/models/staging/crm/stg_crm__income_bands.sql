with

source as (

    select * from {{ read_source('crm', 'income_band', key=['ib_income_band_sk']) }}

),

final as (

    select
        -- ids
        cast(ib_income_band_sk as bigint) as income_band_sk,

        -- numerics
        cast(ib_lower_bound as bigint) as income_lower_bound,
        cast(ib_upper_bound as bigint) as income_upper_bound,

        -- timestamps
        {{ utc_timestamp('_airbyte_extracted_at') }} as loaded_at
    from source

)

select * from final
