create or replace   view FLOE.staging.stg_erp__web_sales
  as (
    with
source as (
    select * from (
        with
    latest_repairs as (
        select * from "FLOE"."RAW_ERP"."__FLOE_REPAIRS_WEB_SALES"
        qualify row_number() over (
            partition by "WS_ITEM_SK", "WS_ORDER_NUMBER"
            order by _floe_repaired_at desc, "UPDATED_AT" desc nulls last
        ) = 1
    ),
    judged_repairs as (
        select
            repair.*,
            case
                when replicated."WS_ITEM_SK" is null then 0
                when replicated."UPDATED_AT" > repair."UPDATED_AT" then 1
                when replicated."UPDATED_AT" < repair."UPDATED_AT" then 0
                when replicated."UPDATED_AT" is null and repair."UPDATED_AT" is not null then 0
                when replicated."UPDATED_AT" is not null and repair."UPDATED_AT" is null then 1
                when replicated._airbyte_extracted_at > repair._floe_repaired_at then 1
                else 0
            end as raw_wins
        from latest_repairs as repair
        left join FLOE.raw_erp.web_sales as replicated
            on repair."WS_ITEM_SK" = replicated."WS_ITEM_SK" and repair."WS_ORDER_NUMBER" = replicated."WS_ORDER_NUMBER"
    )
    select
        replicated."WS_SOLD_DATE_SK",
        replicated."WS_SOLD_TIME_SK",
        replicated."WS_SHIP_DATE_SK",
        replicated."WS_ITEM_SK",
        replicated."WS_BILL_CUSTOMER_SK",
        replicated."WS_BILL_CDEMO_SK",
        replicated."WS_BILL_HDEMO_SK",
        replicated."WS_BILL_ADDR_SK",
        replicated."WS_SHIP_CUSTOMER_SK",
        replicated."WS_SHIP_CDEMO_SK",
        replicated."WS_SHIP_HDEMO_SK",
        replicated."WS_SHIP_ADDR_SK",
        replicated."WS_WEB_PAGE_SK",
        replicated."WS_WEB_SITE_SK",
        replicated."WS_SHIP_MODE_SK",
        replicated."WS_WAREHOUSE_SK",
        replicated."WS_PROMO_SK",
        replicated."WS_ORDER_NUMBER",
        replicated."WS_QUANTITY",
        replicated."WS_WHOLESALE_COST",
        replicated."WS_LIST_PRICE",
        replicated."WS_SALES_PRICE",
        replicated."WS_EXT_DISCOUNT_AMT",
        replicated."WS_EXT_SALES_PRICE",
        replicated."WS_EXT_WHOLESALE_COST",
        replicated."WS_EXT_LIST_PRICE",
        replicated."WS_EXT_TAX",
        replicated."WS_COUPON_AMT",
        replicated."WS_EXT_SHIP_COST",
        replicated."WS_NET_PAID",
        replicated."WS_NET_PAID_INC_TAX",
        replicated."WS_NET_PAID_INC_SHIP",
        replicated."WS_NET_PAID_INC_SHIP_TAX",
        replicated."WS_NET_PROFIT",
        replicated."UPDATED_AT",
        replicated."_AIRBYTE_RAW_ID",
        replicated."_AIRBYTE_EXTRACTED_AT",
        replicated."_AIRBYTE_META",
        replicated."_AIRBYTE_GENERATION_ID"
        from FLOE.raw_erp.web_sales as replicated
    where not exists (
        select 1 from judged_repairs as repair
        where repair.raw_wins = 0
            and repair."WS_ITEM_SK" = replicated."WS_ITEM_SK" and repair."WS_ORDER_NUMBER" = replicated."WS_ORDER_NUMBER"
    )
    union all
    select
        repair."WS_SOLD_DATE_SK" as "WS_SOLD_DATE_SK",
        repair."WS_SOLD_TIME_SK" as "WS_SOLD_TIME_SK",
        repair."WS_SHIP_DATE_SK" as "WS_SHIP_DATE_SK",
        repair."WS_ITEM_SK" as "WS_ITEM_SK",
        repair."WS_BILL_CUSTOMER_SK" as "WS_BILL_CUSTOMER_SK",
        repair."WS_BILL_CDEMO_SK" as "WS_BILL_CDEMO_SK",
        repair."WS_BILL_HDEMO_SK" as "WS_BILL_HDEMO_SK",
        repair."WS_BILL_ADDR_SK" as "WS_BILL_ADDR_SK",
        repair."WS_SHIP_CUSTOMER_SK" as "WS_SHIP_CUSTOMER_SK",
        repair."WS_SHIP_CDEMO_SK" as "WS_SHIP_CDEMO_SK",
        repair."WS_SHIP_HDEMO_SK" as "WS_SHIP_HDEMO_SK",
        repair."WS_SHIP_ADDR_SK" as "WS_SHIP_ADDR_SK",
        repair."WS_WEB_PAGE_SK" as "WS_WEB_PAGE_SK",
        repair."WS_WEB_SITE_SK" as "WS_WEB_SITE_SK",
        repair."WS_SHIP_MODE_SK" as "WS_SHIP_MODE_SK",
        repair."WS_WAREHOUSE_SK" as "WS_WAREHOUSE_SK",
        repair."WS_PROMO_SK" as "WS_PROMO_SK",
        repair."WS_ORDER_NUMBER" as "WS_ORDER_NUMBER",
        repair."WS_QUANTITY" as "WS_QUANTITY",
        repair."WS_WHOLESALE_COST" as "WS_WHOLESALE_COST",
        repair."WS_LIST_PRICE" as "WS_LIST_PRICE",
        repair."WS_SALES_PRICE" as "WS_SALES_PRICE",
        repair."WS_EXT_DISCOUNT_AMT" as "WS_EXT_DISCOUNT_AMT",
        repair."WS_EXT_SALES_PRICE" as "WS_EXT_SALES_PRICE",
        repair."WS_EXT_WHOLESALE_COST" as "WS_EXT_WHOLESALE_COST",
        repair."WS_EXT_LIST_PRICE" as "WS_EXT_LIST_PRICE",
        repair."WS_EXT_TAX" as "WS_EXT_TAX",
        repair."WS_COUPON_AMT" as "WS_COUPON_AMT",
        repair."WS_EXT_SHIP_COST" as "WS_EXT_SHIP_COST",
        repair."WS_NET_PAID" as "WS_NET_PAID",
        repair."WS_NET_PAID_INC_TAX" as "WS_NET_PAID_INC_TAX",
        repair."WS_NET_PAID_INC_SHIP" as "WS_NET_PAID_INC_SHIP",
        repair."WS_NET_PAID_INC_SHIP_TAX" as "WS_NET_PAID_INC_SHIP_TAX",
        repair."WS_NET_PROFIT" as "WS_NET_PROFIT",
        repair."UPDATED_AT" as "UPDATED_AT",
        repair."_AIRBYTE_RAW_ID" as "_AIRBYTE_RAW_ID",
        coalesce(repair."_AIRBYTE_EXTRACTED_AT", repair._floe_repaired_at) as "_AIRBYTE_EXTRACTED_AT",
        repair."_AIRBYTE_META" as "_AIRBYTE_META",
        repair."_AIRBYTE_GENERATION_ID" as "_AIRBYTE_GENERATION_ID"
        from judged_repairs as repair
    where repair.raw_wins = 0 and repair._floe_repair_action <> 'delete'
        ) as merged
),
final as (
    select
        -- ids
        cast(ws_sold_date_sk as bigint) as sold_date_sk,
        cast(ws_sold_time_sk as bigint) as sold_time_sk,
        cast(ws_ship_date_sk as bigint) as shipped_date_sk,
        cast(ws_item_sk as bigint) as item_sk,
        cast(ws_bill_customer_sk as bigint) as billing_customer_sk,
        cast(ws_bill_cdemo_sk as bigint) as billing_customer_demographics_sk,
        cast(ws_bill_hdemo_sk as bigint) as billing_household_demographics_sk,
        cast(ws_bill_addr_sk as bigint) as billing_address_sk,
        cast(ws_ship_customer_sk as bigint) as shipping_customer_sk,
        cast(ws_ship_cdemo_sk as bigint) as shipping_customer_demographics_sk,
        cast(ws_ship_hdemo_sk as bigint) as shipping_household_demographics_sk,
        cast(ws_ship_addr_sk as bigint) as shipping_address_sk,
        cast(ws_web_page_sk as bigint) as web_page_sk,
        cast(ws_web_site_sk as bigint) as web_site_sk,
        cast(ws_ship_mode_sk as bigint) as ship_mode_sk,
        cast(ws_warehouse_sk as bigint) as warehouse_sk,
        cast(ws_promo_sk as bigint) as promotion_sk,
        cast(ws_order_number as bigint) as order_number,
        -- numerics
        cast(ws_quantity as bigint) as quantity,
        cast(ws_wholesale_cost as numeric(38, 2)) as wholesale_cost,
        cast(ws_list_price as numeric(38, 2)) as list_price,
        cast(ws_sales_price as numeric(38, 2)) as sales_price,
        cast(ws_ext_discount_amt as numeric(38, 2)) as discount_amount,
        cast(ws_ext_sales_price as numeric(38, 2)) as gross_sales_amount,
        cast(ws_ext_wholesale_cost as numeric(38, 2)) as wholesale_amount,
        cast(ws_ext_list_price as numeric(38, 2)) as list_amount,
        cast(ws_ext_tax as numeric(38, 2)) as tax_amount,
        cast(ws_coupon_amt as numeric(38, 2)) as coupon_amount,
        cast(ws_ext_ship_cost as numeric(38, 2)) as shipping_amount,
        cast(ws_net_paid as numeric(38, 2)) as net_paid_amount,
        cast(ws_net_paid_inc_tax as numeric(38, 2)) as net_paid_with_tax_amount,
        cast(ws_net_paid_inc_ship as numeric(38, 2)) as net_paid_with_shipping_amount,
        cast(ws_net_paid_inc_ship_tax as numeric(38, 2)) as net_paid_with_shipping_and_tax_amount,
        cast(ws_net_profit as numeric(38, 2)) as net_profit_amount,
        -- timestamps
        cast(convert_timezone('UTC', updated_at) as timestamp_ntz) as updated_at,
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
