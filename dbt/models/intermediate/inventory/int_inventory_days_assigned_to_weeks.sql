with

dates as (

    select * from {{ ref('int_dates_assigned_to_weeks') }}

),

final as (

    select
        date_sk,
        date as counted_date,
        week_start_date,
        count(*) over (partition by week_start_date) as counts_of_week
    from dates
    where date_sk in (select date_sk from {{ ref('stg_inventory_files__inventory') }})

)

select * from final
