create or replace temporary table FLOE.build.fct_inventory_weekly__dbt_tmp
  (
    warehouse_sk bigint not null,
    item_sk bigint not null,
    week_start_date date not null,
    counted_date date not null,
    quantity_on_hand bigint
    )
as (
    select warehouse_sk, item_sk, week_start_date, counted_date, quantity_on_hand
    from (
with
    -- Whole weeks are replaced, those in which anything differs.
    changed_weeks as (
        select
            week_start_date,
            hash_agg(warehouse_sk, item_sk, counted_date, quantity_on_hand) as content
        from FLOE.intermediate.int_inventory_aggregated_to_item_warehouse_week
        where true
        group by 1
        except
        select
            week_start_date,
            hash_agg(warehouse_sk, item_sk, counted_date, quantity_on_hand) as content
        from FLOE.build.fct_inventory_weekly
        where true
        group by 1
    ),
final as (
    select
        warehouse_sk,
        item_sk,
        week_start_date,
        counted_date,
        quantity_on_hand
    from FLOE.intermediate.int_inventory_aggregated_to_item_warehouse_week
        where week_start_date in (select week_start_date from changed_weeks)
)
select * from final
    ) as model_subq
    );

BEGIN;

delete from FLOE.build.fct_inventory_weekly as DBT_INTERNAL_DEST
        where (week_start_date) in (
            select distinct week_start_date
            from FLOE.build.fct_inventory_weekly__dbt_tmp as DBT_INTERNAL_SOURCE
        );

insert into FLOE.build.fct_inventory_weekly ("WAREHOUSE_SK", "ITEM_SK", "WEEK_START_DATE", "COUNTED_DATE", "QUANTITY_ON_HAND")
    (
        select "WAREHOUSE_SK", "ITEM_SK", "WEEK_START_DATE", "COUNTED_DATE", "QUANTITY_ON_HAND"
        from FLOE.build.fct_inventory_weekly__dbt_tmp
    );

COMMIT;

drop table if exists FLOE.build.fct_inventory_weekly__dbt_tmp cascade;

delete from FLOE.build.fct_inventory_weekly
    where true and week_start_date not in (
        select week_start_date from FLOE.intermediate.int_inventory_aggregated_to_item_warehouse_week where true
    );
