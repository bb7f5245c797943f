{#- The counts stand twice: DuckDB keeps a common table that is used twice, with every column. -#}
with

counted_once as (

    select
        days.week_start_date,
        days.counted_date,
        inventory.warehouse_sk,
        inventory.item_sk,
        inventory.quantity_on_hand
    from {{ ref('stg_inventory_files__inventory') }} as inventory
    inner join {{ ref('int_inventory_days_assigned_to_weeks') }} as days on inventory.date_sk = days.date_sk
    where days.counts_of_week = 1

),

-- Only in weeks with several counts is there a last one to look for; sorting all weeks is dear.
counted_last as (

    select
        days.week_start_date,
        days.counted_date,
        inventory.warehouse_sk,
        inventory.item_sk,
        inventory.quantity_on_hand
    from {{ ref('stg_inventory_files__inventory') }} as inventory
    inner join {{ ref('int_inventory_days_assigned_to_weeks') }} as days on inventory.date_sk = days.date_sk
    where days.counts_of_week > 1
    qualify
        row_number() over (
            partition by days.week_start_date, inventory.warehouse_sk, inventory.item_sk
            order by days.counted_date desc
        ) = 1

),

-- Stock cannot be summed over time: the last count of the week is the week's stock.
final as (

    select * from counted_once
    union all
    select * from counted_last

)

select * from final
