create or replace   view FLOE.intermediate.int_returns_matched_to_sales
  as (
    with
returns as (
    select * from FLOE.intermediate.int_returns_unioned
),
sales as (
    select * from FLOE.intermediate.int_sales_unioned
),
-- A return whose sale has not arrived yet is kept, without a sale.
final as (
    select
        returns.return_key,
        sales.sale_key,
        returns.sales_channel,
        returns.order_number,
        returns.item_sk,
        returns.refunded_customer_sk,
        returns.returning_customer_sk,
        returns.reason_sk,
        returns.returned_date_sk,
        returns.return_quantity,
        returns.return_amount,
        returns.return_tax_amount,
        returns.fee_amount,
        returns.return_shipping_amount,
        returns.net_loss_amount,
        returns.updated_at
    from returns
    left join sales on returns.return_key = sales.sale_key
)
select * from final
  );
