with

warehouses as (

    select * from {{ ref('stg_erp__warehouses') }}

),

known as (

    select
        warehouse_sk,
        warehouse_id,
        warehouse_name,
        square_feet,
        city,
        county,
        state,
        zip_code,
        country
    from warehouses

),

unknown_warehouse as (

    select
        -1 as warehouse_sk,
        'UNKNOWN' as warehouse_id,
        'Unknown warehouse' as warehouse_name,
        cast(null as bigint) as square_feet,
        cast(null as varchar) as city,
        cast(null as varchar) as county,
        cast(null as varchar) as state,
        cast(null as varchar) as zip_code,
        cast(null as varchar) as country

),

final as (

    select * from known
    union all
    select * from unknown_warehouse

)

select * from final
