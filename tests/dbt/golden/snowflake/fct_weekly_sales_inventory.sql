create or replace temporary table FLOE.build.fct_weekly_sales_inventory__dbt_tmp
  (
    warehouse_sk bigint not null,
    item_sk bigint not null,
    week_start_date date not null,
    sale_lines bigint not null,
    quantity_sold bigint not null,
    gross_sales_amount numeric(38, 2) not null,
    average_daily_quantity numeric(18, 4),
    counted_date date,
    quantity_on_hand bigint,
    weeks_of_supply numeric(18, 4),
    is_low_stock boolean,
    days_observed bigint not null,
    is_partial_week boolean not null
    )
as (
    select warehouse_sk, item_sk, week_start_date, sale_lines, quantity_sold, gross_sales_amount, average_daily_quantity, counted_date, quantity_on_hand, weeks_of_supply, is_low_stock, days_observed, is_partial_week
    from (
with
weeks as (
    select * from FLOE.intermediate.int_weeks_observed
),
    existing_rows as (
        select
            warehouse_sk,
            item_sk,
            week_start_date,
            hash(sale_lines, quantity_sold, gross_sales_amount, average_daily_quantity, counted_date, quantity_on_hand, weeks_of_supply, is_low_stock, days_observed, is_partial_week) as content
        from FLOE.build.fct_weekly_sales_inventory
        where true
    ),
stock_of_weeks as (
    select * from FLOE.build.fct_inventory_weekly
    where true
),
sales_of_weeks as (
    select * from FLOE.intermediate.int_sales_aggregated_to_item_warehouse_week
    where true
),
-- Both sides are at the week's grain. Stock that sold nothing and sales of what was not counted stay.
joined as (
    select
        coalesce(stock.warehouse_sk, sold.warehouse_sk) as warehouse_sk,
        coalesce(stock.item_sk, sold.item_sk) as item_sk,
        coalesce(stock.week_start_date, sold.week_start_date) as week_start_date,
        coalesce(sold.sale_lines, 0) as sale_lines,
        coalesce(sold.quantity_sold, 0) as quantity_sold,
        coalesce(sold.gross_sales_amount, 0) as gross_sales_amount,
        stock.counted_date,
        stock.quantity_on_hand
    from stock_of_weeks as stock
    full outer join sales_of_weeks as sold
        on
            stock.warehouse_sk = sold.warehouse_sk
            and stock.item_sk = sold.item_sk
            and stock.week_start_date = sold.week_start_date
),
-- A week is divided by the days that were observed, not by seven.
paced as (
    select
        joined.*,
        weeks.days_observed,
        joined.quantity_sold / cast(nullif(weeks.days_observed, 0) as numeric(38, 6)) as daily_pace
    from joined
    inner join weeks on joined.week_start_date = weeks.week_start_date
),
supplied as (
    select
        *,
        quantity_on_hand / nullif(daily_pace * 7, 0) as supply
    from paced
),
computed as (
    select
        warehouse_sk,
        item_sk,
        week_start_date,
        sale_lines,
        quantity_sold,
        gross_sales_amount,
        cast(daily_pace as numeric(18, 4)) as average_daily_quantity,
        counted_date,
        quantity_on_hand,
        cast(supply as numeric(18, 4)) as weeks_of_supply,
        case
            when quantity_on_hand is null then null
            when quantity_on_hand = 0 then true
            else coalesce(supply < 1, false)
        end as is_low_stock,
        days_observed,
        days_observed < 7 as is_partial_week
    from supplied
),
    compared as (
        select
            *,
            hash(sale_lines, quantity_sold, gross_sales_amount, average_daily_quantity, counted_date, quantity_on_hand, weeks_of_supply, is_low_stock, days_observed, is_partial_week) as content
        from computed
    ),
-- Only what is new or differs is written.
final as (
        select
            compared.warehouse_sk,
            compared.item_sk,
            compared.week_start_date,
            compared.sale_lines, compared.quantity_sold, compared.gross_sales_amount, compared.average_daily_quantity, compared.counted_date, compared.quantity_on_hand, compared.weeks_of_supply, compared.is_low_stock, compared.days_observed, compared.is_partial_week
        from compared
        left join existing_rows
            on
                compared.warehouse_sk = existing_rows.warehouse_sk
                and compared.item_sk = existing_rows.item_sk
                and compared.week_start_date = existing_rows.week_start_date
        where existing_rows.content is null or compared.content <> existing_rows.content
)
select * from final
    ) as model_subq
    );

BEGIN;

delete from FLOE.build.fct_weekly_sales_inventory as DBT_INTERNAL_DEST
        where (warehouse_sk, item_sk, week_start_date) in (
            select distinct warehouse_sk, item_sk, week_start_date
            from FLOE.build.fct_weekly_sales_inventory__dbt_tmp as DBT_INTERNAL_SOURCE
        );

insert into FLOE.build.fct_weekly_sales_inventory ("WAREHOUSE_SK", "ITEM_SK", "WEEK_START_DATE", "SALE_LINES", "QUANTITY_SOLD", "GROSS_SALES_AMOUNT", "AVERAGE_DAILY_QUANTITY", "COUNTED_DATE", "QUANTITY_ON_HAND", "WEEKS_OF_SUPPLY", "IS_LOW_STOCK", "DAYS_OBSERVED", "IS_PARTIAL_WEEK")
    (
        select "WAREHOUSE_SK", "ITEM_SK", "WEEK_START_DATE", "SALE_LINES", "QUANTITY_SOLD", "GROSS_SALES_AMOUNT", "AVERAGE_DAILY_QUANTITY", "COUNTED_DATE", "QUANTITY_ON_HAND", "WEEKS_OF_SUPPLY", "IS_LOW_STOCK", "DAYS_OBSERVED", "IS_PARTIAL_WEEK"
        from FLOE.build.fct_weekly_sales_inventory__dbt_tmp
    );

COMMIT;

drop table if exists FLOE.build.fct_weekly_sales_inventory__dbt_tmp cascade;

delete from FLOE.build.fct_weekly_sales_inventory
    where true and (warehouse_sk, item_sk, week_start_date) not in (
        select warehouse_sk, item_sk, week_start_date from FLOE.intermediate.int_sales_aggregated_to_item_warehouse_week where true union
        select warehouse_sk, item_sk, week_start_date from FLOE.build.fct_inventory_weekly where true
    );
