create or replace   view FLOE.intermediate.int_sales_unioned
  as (
    with
catalog_sales as (
    select
        'catalog' as sales_channel,
        order_number,
        item_sk,
        billing_customer_sk,
        warehouse_sk,
        promotion_sk,
        sold_date_sk,
        sold_time_sk,
        shipped_date_sk,
        quantity,
        wholesale_cost,
        list_price,
        sales_price,
        discount_amount,
        gross_sales_amount,
        wholesale_amount,
        coupon_amount,
        tax_amount,
        shipping_amount,
        net_paid_amount,
        net_profit_amount,
        updated_at
    from FLOE.staging.stg_erp__catalog_sales
),
web_sales as (
    select
        'web' as sales_channel,
        order_number,
        item_sk,
        billing_customer_sk,
        warehouse_sk,
        promotion_sk,
        sold_date_sk,
        sold_time_sk,
        shipped_date_sk,
        quantity,
        wholesale_cost,
        list_price,
        sales_price,
        discount_amount,
        gross_sales_amount,
        wholesale_amount,
        coupon_amount,
        tax_amount,
        shipping_amount,
        net_paid_amount,
        net_profit_amount,
        updated_at
    from FLOE.staging.stg_erp__web_sales
),
-- `union all`: two lines that look alike are two sales.
unioned as (
    select * from catalog_sales
    union all
    select * from web_sales
),
final as (
    select
        sales_channel || '-' || cast(order_number as varchar) || '-' || cast(item_sk as varchar) as sale_key,
        *
    from unioned
)
select * from final
  );
