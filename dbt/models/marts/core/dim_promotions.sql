with

history as (

    select * from {{ ref('dim_promotions_history') }}

),

-- A deleted promotion stays, marked: older sales still lead to one row each.
final as (

    select
        promotion_sk,
        promotion_id,
        promotion_name,
        item_sk,
        start_date,
        end_date,
        promotion_cost,
        response_target,
        purpose,
        is_direct_mail,
        is_email,
        is_catalog,
        is_tv,
        is_radio,
        is_press,
        is_event,
        is_demo,
        is_discount_active,
        is_deleted
    from history
    where is_current

)

select * from final
