create or replace transient table FLOE.intermediate.int_promotions_tracked
    as (
with
promotions as (
    select * from FLOE.staging.stg_erp__promotions
),
dates as (
    select * from FLOE.staging.stg_erp__dates
),
changes as (
    select max(updated_at) as updated_at from FLOE.staging.stg_erp__items
    union all
    select max(updated_at) as updated_at from FLOE.staging.stg_erp__catalog_sales
    union all
    select max(updated_at) as updated_at from FLOE.staging.stg_erp__web_sales
),
-- The source does not say when a promotion changed. Its clock is the latest change it tells of anywhere.
source_clock as (
    select coalesce(max(updated_at), cast('1900-01-01' as timestamp)) as updated_at from changes
),
final as (
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
        promotions.is_discount_active,
        source_clock.updated_at
    from promotions
    cross join source_clock
    left join dates as start_dates on promotions.start_date_sk = start_dates.date_sk
    left join dates as end_dates on promotions.end_date_sk = end_dates.date_sk
)
select * from final
    );
