create or replace transient table FLOE.build.dim_warehouses
  (
    warehouse_sk bigint not null,
    warehouse_id varchar not null,
    warehouse_name varchar,
    square_feet bigint,
    city varchar,
    county varchar,
    state varchar,
    zip_code varchar,
    country varchar
    )
    as (
    select warehouse_sk, warehouse_id, warehouse_name, square_feet, city, county, state, zip_code, country
    from (
        with
warehouses as (
    select * from FLOE.staging.stg_erp__warehouses
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
    ) as model_subq
    );
