with

source as (

    select * from {{ read_source('accounting', 'reason', key=['r_reason_sk']) }}

),

final as (

    select
        -- ids
        cast(r_reason_sk as bigint) as reason_sk,
        cast(r_reason_id as varchar) as reason_id,

        -- strings
        cast(r_reason_desc as varchar) as reason_description,

        -- timestamps
        {{ utc_timestamp('_airbyte_extracted_at') }} as loaded_at
    from source

)

select * from final
