create or replace   view FLOE.staging.stg_erp__catalog_sales
  as (
    with
source as (
    select * from FLOE.raw_erp.catalog_sales
),
final as (
    select
        -- ids
        cast(cs_sold_date_sk as bigint) as sold_date_sk,
        cast(cs_sold_time_sk as bigint) as sold_time_sk,
        cast(cs_ship_date_sk as bigint) as shipped_date_sk,
        cast(cs_bill_customer_sk as bigint) as billing_customer_sk,
        cast(cs_bill_cdemo_sk as bigint) as billing_customer_demographics_sk,
        cast(cs_bill_hdemo_sk as bigint) as billing_household_demographics_sk,
        cast(cs_bill_addr_sk as bigint) as billing_address_sk,
        cast(cs_ship_customer_sk as bigint) as shipping_customer_sk,
        cast(cs_ship_cdemo_sk as bigint) as shipping_customer_demographics_sk,
        cast(cs_ship_hdemo_sk as bigint) as shipping_household_demographics_sk,
        cast(cs_ship_addr_sk as bigint) as shipping_address_sk,
        cast(cs_call_center_sk as bigint) as call_center_sk,
        cast(cs_catalog_page_sk as bigint) as catalog_page_sk,
        cast(cs_ship_mode_sk as bigint) as ship_mode_sk,
        cast(cs_warehouse_sk as bigint) as warehouse_sk,
        cast(cs_item_sk as bigint) as item_sk,
        cast(cs_promo_sk as bigint) as promotion_sk,
        cast(cs_order_number as bigint) as order_number,
        -- numerics
        cast(cs_quantity as bigint) as quantity,
        cast(cs_wholesale_cost as numeric(38, 2)) as wholesale_cost,
        cast(cs_list_price as numeric(38, 2)) as list_price,
        cast(cs_sales_price as numeric(38, 2)) as sales_price,
        cast(cs_ext_discount_amt as numeric(38, 2)) as discount_amount,
        cast(cs_ext_sales_price as numeric(38, 2)) as gross_sales_amount,
        cast(cs_ext_wholesale_cost as numeric(38, 2)) as wholesale_amount,
        cast(cs_ext_list_price as numeric(38, 2)) as list_amount,
        cast(cs_ext_tax as numeric(38, 2)) as tax_amount,
        cast(cs_coupon_amt as numeric(38, 2)) as coupon_amount,
        cast(cs_ext_ship_cost as numeric(38, 2)) as shipping_amount,
        cast(cs_net_paid as numeric(38, 2)) as net_paid_amount,
        cast(cs_net_paid_inc_tax as numeric(38, 2)) as net_paid_with_tax_amount,
        cast(cs_net_paid_inc_ship as numeric(38, 2)) as net_paid_with_shipping_amount,
        cast(cs_net_paid_inc_ship_tax as numeric(38, 2)) as net_paid_with_shipping_and_tax_amount,
        cast(cs_net_profit as numeric(38, 2)) as net_profit_amount,
        -- timestamps
        cast(convert_timezone('UTC', updated_at) as timestamp_ntz) as updated_at,
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
