{{ config(severity='warn') }}
-- Tables whose latest load brought unusually many or few rows. Usual is what the loads of the last 28
-- days with one have brought, the very first left out: their mean, give or take as many standard
-- deviations as the variable says, and half of the mean at least. A row counts with its last load.
with

loads as (

    {{ loads_by_day([
        ref('stg_crm__customers'), ref('stg_crm__customer_addresses'), ref('stg_erp__items'),
        ref('stg_erp__catalog_sales'), ref('stg_erp__web_sales'), ref('stg_accounting__catalog_returns'),
        ref('stg_accounting__web_returns'), ref('stg_inventory_files__inventory'),
    ]) }}

),

numbered as (

    select
        *,
        row_number() over (partition by table_name order by loaded_on) as load_number,
        row_number() over (partition by table_name order by loaded_on desc) as loads_ago
    from loads

),

usual as (

    select
        table_name,
        count(*) as load_count,
        avg(row_count) as mean_row_count,
        coalesce(stddev(row_count), 0) as deviation
    from numbered
    where load_number > 1 and loads_ago between 2 and 29
    group by 1

),

latest as (

    select * from numbered
    where loads_ago = 1

),

final as (

    select
        latest.table_name,
        latest.loaded_on,
        latest.row_count,
        cast(usual.mean_row_count as numeric(18, 1)) as usual_row_count,
        usual.load_count
    from latest
    inner join usual on latest.table_name = usual.table_name
    where
        usual.load_count >= {{ var('least_loads') }}
        and abs(latest.row_count - usual.mean_row_count) > greatest(
            {{ var('usual_deviations') }} * usual.deviation, 0.5 * usual.mean_row_count
        )

)

select * from final
