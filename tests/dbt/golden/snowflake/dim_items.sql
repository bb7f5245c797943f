create or replace transient table FLOE.build.dim_items
  (
    item_sk bigint not null,
    item_id varchar not null,
    item_description varchar,
    brand varchar,
    class varchar,
    category varchar,
    manufacturer varchar,
    product_name varchar,
    size varchar,
    color varchar,
    units varchar,
    current_price numeric(38, 2),
    wholesale_cost numeric(38, 2),
    valid_from date not null,
    valid_to date not null,
    is_current boolean not null
    )
    as (
    select item_sk, item_id, item_description, brand, class, category, manufacturer, product_name, size, color, units, current_price, wholesale_cost, valid_from, valid_to, is_current
    from (
        with
items as (
    select * from FLOE.staging.stg_erp__items
),
-- The source keeps the versions itself and gives the last day of each; here validity is half open,
-- `valid_from <= day < valid_to`, as everywhere. A start that was not recorded follows from the end of
-- the version before.
final as (
    select
        item_sk,
        item_id,
        item_description,
        brand,
        class,
        category,
        manufacturer,
        product_name,
        size,
        color,
        units,
        current_price,
        wholesale_cost,
        coalesce(
            record_start_date,
            cast(dateadd(day, 1, lag(record_end_date) over (partition by item_id order by item_sk)) as date),
            cast('1900-01-01' as date)
        ) as valid_from,
        coalesce(cast(dateadd(day, 1, record_end_date) as date), cast('9999-12-31' as date)) as valid_to,
        record_end_date is null as is_current
    from items
)
select * from final
    ) as model_subq
    );
