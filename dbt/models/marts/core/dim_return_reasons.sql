with

reasons as (

    select * from {{ ref('stg_accounting__return_reasons') }}

),

final as (

    select
        reason_sk,
        reason_id,
        reason_description
    from reasons
    union all
    select
        -1 as reason_sk,
        'UNKNOWN' as reason_id,
        'Unknown reason' as reason_description

)

select * from final
