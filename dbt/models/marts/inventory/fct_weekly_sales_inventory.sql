{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='week_start_date',
        on_schema_change='fail',
        post_hook="{{ delete_rows_not_in([
            ref('int_sales_aggregated_to_item_warehouse_week'), ref('fct_inventory_weekly')
        ], 'week_start_date') }}",
    )
}}

{% set stock = group_hash(['warehouse_sk', 'item_sk', 'counted_date', 'quantity_on_hand']) %}
{% set sold = group_hash(['warehouse_sk', 'item_sk', 'sale_lines', 'quantity_sold', 'gross_sales_amount']) %}

with

sales as (

    select * from {{ ref('int_sales_aggregated_to_item_warehouse_week') }}

),

weeks as (

    select * from {{ ref('int_weeks_observed') }}

),

{% if is_incremental() %}
    -- Whole weeks are replaced, those in which stock, sales or the days observed differ.
    wanted as (

        select
            'stock' as part,
            week_start_date,
            {{ stock }} as content
        from {{ ref('fct_inventory_weekly') }}
        group by 2
        union all
        select
            'sold' as part,
            week_start_date,
            {{ sold }} as content
        from sales
        group by 2
        union all
        select
            'days' as part,
            week_start_date,
            days_observed as content
        from weeks

    ),

    existing as (

        select
            'stock' as part,
            week_start_date,
            {{ stock }} as content
        from {{ this }}
        where counted_date is not null
        group by 2
        union all
        select
            'sold' as part,
            week_start_date,
            {{ sold }} as content
        from {{ this }}
        where sale_lines > 0
        group by 2
        union all
        select distinct
            'days' as part,
            week_start_date,
            days_observed as content
        from {{ this }}

    ),

    changed_weeks as (

        select coalesce(wanted.week_start_date, existing.week_start_date) as week_start_date
        from wanted
        full outer join existing
            on wanted.part = existing.part and wanted.week_start_date = existing.week_start_date
        where wanted.content is distinct from existing.content

    ),
{% endif %}

stock_of_weeks as (

    select * from {{ ref('fct_inventory_weekly') }}
    {% if is_incremental() %}
        where week_start_date in (select week_start_date from changed_weeks)
    {% endif %}

),

sales_of_weeks as (

    select * from sales
    {% if is_incremental() %}
        where week_start_date in (select week_start_date from changed_weeks)
    {% endif %}

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

final as (

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
            else coalesce(supply < {{ var('low_stock_weeks') }}, false)
        end as is_low_stock,
        days_observed,
        days_observed < 7 as is_partial_week
    from supplied

)

select * from final
