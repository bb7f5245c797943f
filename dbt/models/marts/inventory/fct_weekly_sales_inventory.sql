{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['warehouse_sk', 'item_sk', 'week_start_date'],
        on_schema_change='fail',
        meta={'replaced_within': 'week_start_date'},
        post_hook="{{ delete_rows_not_in(
            [ref('int_sales_aggregated_to_item_warehouse_week'), ref('fct_inventory_weekly')],
            ['warehouse_sk', 'item_sk', 'week_start_date'], 'week_start_date',
            listed_dates(any_of([weeks_of_changed_sales(), weeks_of_restated_stock()]))
        ) }}",
    )
}}

{% set weeks = listed_dates(any_of([
    weeks_of_restated_stock(), weeks_of_changed_sales(), weeks_observed_otherwise()
])) if is_incremental() %}
{% set values = [
    'sale_lines', 'quantity_sold', 'gross_sales_amount', 'average_daily_quantity', 'counted_date',
    'quantity_on_hand', 'weeks_of_supply', 'is_low_stock', 'days_observed', 'is_partial_week',
] %}

with

weeks as (

    select * from {{ ref('int_weeks_observed') }}

),

{% if is_incremental() %}
    existing_rows as (

        select
            warehouse_sk,
            item_sk,
            week_start_date,
            {{ row_hash(values) }} as content
        from {{ this }}
        where {{ is_among('week_start_date', weeks) }}

    ),
{% endif %}

stock_of_weeks as (

    select * from {{ ref('fct_inventory_weekly') }}
    where {{ is_among('week_start_date', weeks) }}

),

sales_of_weeks as (

    select * from {{ ref('int_sales_aggregated_to_item_warehouse_week') }}
    where {{ is_among('week_start_date', weeks) }}

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
            else coalesce(supply < {{ var('low_stock_weeks') }}, false)
        end as is_low_stock,
        days_observed,
        days_observed < 7 as is_partial_week
    from supplied

),

{% if is_incremental() %}
    compared as (

        select
            *,
            {{ row_hash(values) }} as content
        from computed

    ),
{% endif %}

-- Only what is new or differs is written.
final as (

    {% if is_incremental() %}
        select
            compared.warehouse_sk,
            compared.item_sk,
            compared.week_start_date,
            compared.{{ values | join(', compared.') }}
        from compared
        left join existing_rows
            on
                compared.warehouse_sk = existing_rows.warehouse_sk
                and compared.item_sk = existing_rows.item_sk
                and compared.week_start_date = existing_rows.week_start_date
        where existing_rows.content is null or compared.content <> existing_rows.content
    {% else %}
        select * from computed
    {% endif %}

)

select * from final
