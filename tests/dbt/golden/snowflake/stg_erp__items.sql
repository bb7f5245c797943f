create or replace   view FLOE.staging.stg_erp__items
  as (
    with
source as (
    select * from FLOE.raw_erp.item
),
final as (
    select
        -- ids
        cast(i_item_sk as bigint) as item_sk,
        cast(i_item_id as varchar) as item_id,
        cast(i_brand_id as bigint) as brand_id,
        cast(i_class_id as bigint) as class_id,
        cast(i_category_id as bigint) as category_id,
        cast(i_manufact_id as bigint) as manufacturer_id,
        cast(i_manager_id as bigint) as manager_id,
        -- strings
        cast(i_item_desc as varchar) as item_description,
        cast(i_brand as varchar) as brand,
        cast(i_class as varchar) as class,
        cast(i_category as varchar) as category,
        cast(i_manufact as varchar) as manufacturer,
        cast(i_size as varchar) as size,
        cast(i_formulation as varchar) as formulation,
        cast(i_color as varchar) as color,
        cast(i_units as varchar) as units,
        cast(i_container as varchar) as container,
        cast(i_product_name as varchar) as product_name,
        -- numerics
        cast(i_current_price as numeric(38, 2)) as current_price,
        cast(i_wholesale_cost as numeric(38, 2)) as wholesale_cost,
        -- dates
        cast(i_rec_start_date as date) as record_start_date,
        cast(i_rec_end_date as date) as record_end_date,
        -- timestamps
        cast(convert_timezone('UTC', updated_at) as timestamp_ntz) as updated_at,
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
