create or replace transient table FLOE.build.dim_promotions
  (
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
    is_deleted boolean not null
    )
    as (
    select promotion_sk, promotion_id, promotion_name, item_sk, start_date, end_date, promotion_cost, response_target, purpose, is_direct_mail, is_email, is_catalog, is_tv, is_radio, is_press, is_event, is_demo, is_discount_active, is_deleted
    from (
        with
history as (
    select * from FLOE.build.dim_promotions_history
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
    ) as model_subq
    );
