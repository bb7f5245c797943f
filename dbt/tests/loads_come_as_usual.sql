{{ config(severity='warn', tags=['clock']) }}
-- Tables that have been without new rows for longer than they usually are: by more than a day longer than
-- the longest time between two of the last 28 days with a load.
with

loads as (

    {{ loads_by_day([
        ref('stg_crm__customers'), ref('stg_crm__customer_addresses'), ref('stg_erp__items'),
        ref('stg_erp__catalog_sales'), ref('stg_erp__web_sales'), ref('stg_accounting__catalog_returns'),
        ref('stg_accounting__web_returns'), ref('stg_inventory_files__inventory'),
    ]) }}

),

spaced as (

    select
        table_name,
        loaded_on,
        loaded_on - lag(loaded_on) over (partition by table_name order by loaded_on) as days_between,
        row_number() over (partition by table_name order by loaded_on desc) as loads_ago
    from loads

),

final as (

    select
        table_name,
        max(loaded_on) as last_loaded_on,
        cast({{ utc_timestamp('current_timestamp') }} as date) - max(loaded_on) as days_without,
        max(days_between) as longest_days_between
    from spaced
    where loads_ago <= 28
    group by 1
    having count(*) > {{ var('least_loads') }}

)

select * from final
where days_without > longest_days_between + 1
