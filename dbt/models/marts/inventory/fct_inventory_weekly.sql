{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='week_start_date',
        on_schema_change='fail',
        post_hook="{{ delete_rows_not_in(
            [ref('int_inventory_aggregated_to_item_warehouse_week')], 'week_start_date', 'week_start_date',
            listed_dates(weeks_of_changed_stock())
        ) }}",
    )
}}

{% set weeks = listed_dates(weeks_of_changed_stock()) if is_incremental() %}
{% set content = group_hash(['warehouse_sk', 'item_sk', 'counted_date', 'quantity_on_hand']) %}

with

{% if is_incremental() %}
    -- Whole weeks are replaced, those in which anything differs.
    changed_weeks as (

        select
            week_start_date,
            {{ content }} as content
        from {{ ref('int_inventory_aggregated_to_item_warehouse_week') }}
        where {{ is_among('week_start_date', weeks) }}
        group by 1
        except
        select
            week_start_date,
            {{ content }} as content
        from {{ this }}
        where {{ is_among('week_start_date', weeks) }}
        group by 1

    ),
{% endif %}

final as (

    select
        warehouse_sk,
        item_sk,
        week_start_date,
        counted_date,
        quantity_on_hand
    from {{ ref('int_inventory_aggregated_to_item_warehouse_week') }}
    {% if is_incremental() %}
        where week_start_date in (select week_start_date from changed_weeks)
    {% endif %}

)

select * from final
