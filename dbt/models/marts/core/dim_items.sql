with

items as (

    select * from {{ ref('stg_erp__items') }}

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
            {{ add_days('lag(record_end_date) over (partition by item_id order by item_sk)', 1) }},
            cast('1900-01-01' as date)
        ) as valid_from,
        coalesce({{ add_days('record_end_date', 1) }}, cast('9999-12-31' as date)) as valid_to,
        record_end_date is null as is_current
    from items

)

select * from final
