create or replace   view FLOE.staging.stg_erp__promotions
  as (
    with
source as (
    select * from FLOE.raw_erp.promotion
),
final as (
    select
        -- ids
        cast(p_promo_sk as bigint) as promotion_sk,
        cast(p_promo_id as varchar) as promotion_id,
        cast(p_start_date_sk as bigint) as start_date_sk,
        cast(p_end_date_sk as bigint) as end_date_sk,
        cast(p_item_sk as bigint) as item_sk,
        -- strings
        cast(p_promo_name as varchar) as promotion_name,
        cast(p_channel_details as varchar) as channel_details,
        cast(p_purpose as varchar) as purpose,
        -- numerics
        cast(p_cost as numeric(38, 2)) as promotion_cost,
        cast(p_response_target as bigint) as response_target,
        -- booleans
        p_channel_dmail = 'Y' as is_direct_mail,
        p_channel_email = 'Y' as is_email,
        p_channel_catalog = 'Y' as is_catalog,
        p_channel_tv = 'Y' as is_tv,
        p_channel_radio = 'Y' as is_radio,
        p_channel_press = 'Y' as is_press,
        p_channel_event = 'Y' as is_event,
        p_channel_demo = 'Y' as is_demo,
        p_discount_active = 'Y' as is_discount_active,
        -- timestamps
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
