create or replace   view FLOE.intermediate.int_inventory_aggregated_to_item_warehouse_week
  as (
    with
inventory as (
    select * from FLOE.staging.stg_inventory_files__inventory
),
dates as (
    select * from FLOE.intermediate.int_dates_assigned_to_weeks
),
counted as (
    select
        dates.week_start_date,
        dates.date as counted_date,
        inventory.warehouse_sk,
        inventory.item_sk,
        inventory.quantity_on_hand
    from inventory
    inner join dates on inventory.date_sk = dates.date_sk
),
-- Only in weeks with several counts is there a last one to look for; sorting all weeks is dear.
weeks_counted_again as (
    select week_start_date
    from counted
    group by 1
    having min(counted_date) <> max(counted_date)
),
counted_once as (
    select * from counted
    where week_start_date not in (select week_start_date from weeks_counted_again)
),
counted_last as (
    select * from counted
    where week_start_date in (select week_start_date from weeks_counted_again)
    qualify
        row_number() over (
            partition by week_start_date, warehouse_sk, item_sk
            order by counted_date desc
        ) = 1
),
-- Stock cannot be summed over time: the last count of the week is the week's stock.
final as (
    select * from counted_once
    union all
    select * from counted_last
)
select * from final
  );
