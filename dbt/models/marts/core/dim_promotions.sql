with

promotions as (

    select * from {{ ref('stg_erp__promotions') }}

),

dates as (

    select * from {{ ref('stg_erp__dates') }}

),

dated as (

    select
        promotions.promotion_sk,
        promotions.promotion_id,
        promotions.promotion_name,
        promotions.item_sk,
        start_dates.date as start_date,
        end_dates.date as end_date,
        promotions.promotion_cost,
        promotions.response_target,
        promotions.purpose,
        promotions.is_direct_mail,
        promotions.is_email,
        promotions.is_catalog,
        promotions.is_tv,
        promotions.is_radio,
        promotions.is_press,
        promotions.is_event,
        promotions.is_demo,
        promotions.is_discount_active
    from promotions
    left join dates as start_dates on promotions.start_date_sk = start_dates.date_sk
    left join dates as end_dates on promotions.end_date_sk = end_dates.date_sk

),

unknown_promotion as (

    select
        -1 as promotion_sk,
        'UNKNOWN' as promotion_id,
        'Unknown promotion' as promotion_name,
        cast(null as bigint) as item_sk,
        cast(null as date) as start_date,
        cast(null as date) as end_date,
        cast(null as numeric(38, 2)) as promotion_cost,
        cast(null as bigint) as response_target,
        cast(null as varchar) as purpose,
        cast(null as boolean) as is_direct_mail,
        cast(null as boolean) as is_email,
        cast(null as boolean) as is_catalog,
        cast(null as boolean) as is_tv,
        cast(null as boolean) as is_radio,
        cast(null as boolean) as is_press,
        cast(null as boolean) as is_event,
        cast(null as boolean) as is_demo,
        cast(null as boolean) as is_discount_active

),

final as (

    select * from dated
    union all
    select * from unknown_promotion

)

select * from final
