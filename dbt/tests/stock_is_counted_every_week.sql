{{ config(severity='warn') }}
-- Weeks between the first and the last count in which a warehouse was not counted: a missing file.
with

inventory as (

    select * from {{ ref('fct_inventory_weekly') }}

),

dates as (

    select * from {{ ref('dim_dates') }}

),

period as (

    select
        warehouse_sk,
        min(week_start_date) as first_week,
        max(week_start_date) as last_week
    from inventory
    group by 1

),

expected as (

    select distinct
        period.warehouse_sk,
        dates.week_start_date
    from period
    inner join dates on dates.week_start_date between period.first_week and period.last_week

),

counted as (

    select distinct
        warehouse_sk,
        week_start_date
    from inventory

)

select * from expected
except
select * from counted
