create or replace   view FLOE.staging.stg_accounting__catalog_returns
  as (
    with
source as (
    select * from FLOE.raw_accounting.catalog_returns
),
final as (
    select
        -- ids
        cast(cr_returned_date_sk as bigint) as returned_date_sk,
        cast(cr_returned_time_sk as bigint) as returned_time_sk,
        cast(cr_item_sk as bigint) as item_sk,
        cast(cr_refunded_customer_sk as bigint) as refunded_customer_sk,
        cast(cr_refunded_cdemo_sk as bigint) as refunded_customer_demographics_sk,
        cast(cr_refunded_hdemo_sk as bigint) as refunded_household_demographics_sk,
        cast(cr_refunded_addr_sk as bigint) as refunded_address_sk,
        cast(cr_returning_customer_sk as bigint) as returning_customer_sk,
        cast(cr_returning_cdemo_sk as bigint) as returning_customer_demographics_sk,
        cast(cr_returning_hdemo_sk as bigint) as returning_household_demographics_sk,
        cast(cr_returning_addr_sk as bigint) as returning_address_sk,
        cast(cr_call_center_sk as bigint) as call_center_sk,
        cast(cr_catalog_page_sk as bigint) as catalog_page_sk,
        cast(cr_ship_mode_sk as bigint) as ship_mode_sk,
        cast(cr_warehouse_sk as bigint) as warehouse_sk,
        cast(cr_reason_sk as bigint) as reason_sk,
        cast(cr_order_number as bigint) as order_number,
        -- numerics
        cast(cr_return_quantity as bigint) as return_quantity,
        cast(cr_return_amount as numeric(38, 2)) as return_amount,
        cast(cr_return_tax as numeric(38, 2)) as return_tax_amount,
        cast(cr_return_amt_inc_tax as numeric(38, 2)) as return_with_tax_amount,
        cast(cr_fee as numeric(38, 2)) as fee_amount,
        cast(cr_return_ship_cost as numeric(38, 2)) as return_shipping_amount,
        cast(cr_refunded_cash as numeric(38, 2)) as refunded_cash_amount,
        cast(cr_reversed_charge as numeric(38, 2)) as reversed_charge_amount,
        cast(cr_store_credit as numeric(38, 2)) as credit_amount,
        cast(cr_net_loss as numeric(38, 2)) as net_loss_amount,
        -- timestamps
        cast(convert_timezone('UTC', updated_at) as timestamp_ntz) as updated_at,
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
