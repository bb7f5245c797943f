create or replace transient table FLOE.build.dim_promotions_history
  (
    promotion_version_key varchar not null,
    promotion_sk bigint not null,
    promotion_id varchar not null,
    promotion_name varchar,
    item_sk bigint,
    start_date date,
    end_date date,
    promotion_cost numeric(38, 2),
    response_target bigint,
    purpose varchar,
    is_direct_mail boolean,
    is_email boolean,
    is_catalog boolean,
    is_tv boolean,
    is_radio boolean,
    is_press boolean,
    is_event boolean,
    is_demo boolean,
    is_discount_active boolean,
    valid_from timestamp not null,
    valid_to timestamp not null,
    is_current boolean not null,
    is_deleted boolean not null
    )
    as (
    select promotion_version_key, promotion_sk, promotion_id, promotion_name, item_sk, start_date, end_date, promotion_cost, response_target, purpose, is_direct_mail, is_email, is_catalog, is_tv, is_radio, is_press, is_event, is_demo, is_discount_active, valid_from, valid_to, is_current, is_deleted
    from (
        with
versions as (
    select * from FLOE.snapshots.snp_promotions
),
-- As with customers, the first version of a promotion reaches back to before the first sale.
opened as (
    select
        dbt_scd_id as promotion_version_key,
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
        case
            when row_number() over (partition by promotion_sk order by dbt_valid_from) = 1
                then cast('1900-01-01' as timestamp)
            else dbt_valid_from
        end as valid_from,
        dbt_valid_to as valid_to,
        dbt_valid_to = cast('9999-12-31' as timestamp) as is_current,
        dbt_is_deleted = 'True' as is_deleted
    from versions
),
unknown_promotion as (
    select
        '-1' as promotion_version_key,
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
        cast(null as boolean) as is_discount_active,
        cast('1900-01-01' as timestamp) as valid_from,
        cast('9999-12-31' as timestamp) as valid_to,
        true as is_current,
        false as is_deleted
),
final as (
    select * from opened
    union all
    select * from unknown_promotion
)
select * from final
    ) as model_subq
    );
