create or replace   view FLOE.intermediate.int_returns_unioned
  as (
    with
catalog_returns as (
    select
        'catalog' as sales_channel,
        order_number,
        item_sk,
        refunded_customer_sk,
        returning_customer_sk,
        reason_sk,
        returned_date_sk,
        return_quantity,
        return_amount,
        return_tax_amount,
        fee_amount,
        return_shipping_amount,
        net_loss_amount,
        updated_at
    from FLOE.staging.stg_accounting__catalog_returns
),
web_returns as (
    select
        'web' as sales_channel,
        order_number,
        item_sk,
        refunded_customer_sk,
        returning_customer_sk,
        reason_sk,
        returned_date_sk,
        return_quantity,
        return_amount,
        return_tax_amount,
        fee_amount,
        return_shipping_amount,
        net_loss_amount,
        updated_at
    from FLOE.staging.stg_accounting__web_returns
),
unioned as (
    select * from catalog_returns
    union all
    select * from web_returns
),
-- The key is made like a sale's, so that a return and its sale have the same.
final as (
    select
        sales_channel || '-' || cast(order_number as varchar)
        || '-' || cast(item_sk as varchar) as return_key,
        *
    from unioned
)
select * from final
  );
