create or replace temporary table FLOE.build.fct_sales__dbt_tmp
  (
    sale_key varchar not null,
    sales_channel varchar not null,
    order_number bigint not null,
    item_sk bigint not null,
    customer_sk bigint not null,
    customer_version_key varchar not null,
    warehouse_sk bigint not null,
    promotion_sk bigint not null,
    sold_date_sk bigint,
    sold_date date,
    sold_at timestamp,
    quantity bigint,
    wholesale_cost numeric(38, 2),
    list_price numeric(38, 2),
    sales_price numeric(38, 2),
    discount_amount numeric(38, 2),
    gross_sales_amount numeric(38, 2),
    wholesale_amount numeric(38, 2),
    coupon_amount numeric(38, 2),
    tax_amount numeric(38, 2),
    shipping_amount numeric(38, 2),
    net_paid_amount numeric(38, 2),
    net_profit_amount numeric(38, 2),
    return_quantity bigint not null,
    return_amount numeric(38, 2) not null,
    updated_at timestamp not null
    )
as (
    select sale_key, sales_channel, order_number, item_sk, customer_sk, customer_version_key, warehouse_sk, promotion_sk, sold_date_sk, sold_date, sold_at, quantity, wholesale_cost, list_price, sales_price, discount_amount, gross_sales_amount, wholesale_amount, coupon_amount, tax_amount, shipping_amount, net_paid_amount, net_profit_amount, return_quantity, return_amount, updated_at
    from (
with
sales as (
    select * from FLOE.intermediate.int_sales_unioned
    where true
),
dates as (
    select * from FLOE.staging.stg_erp__dates
),
times as (
    select * from FLOE.staging.stg_erp__times
),
customer_versions as (
    select * from FLOE.build.dim_customers_history
),
returns as (
    select * from FLOE.intermediate.int_returns_unioned
),
timed as (
    select
        sales.*,
        dates.date as sold_date,
        dateadd(second, coalesce(times.second_of_day, 0), cast(dates.date as timestamp_ntz)) as sold_at
    from sales
    left join dates on sales.sold_date_sk = dates.date_sk
    left join times on sales.sold_time_sk = times.time_sk
),
-- The version of the customer that was valid when the sale was made. A sale without a day counts with
-- the first version; a customer who is unknown, or not known here, with the unknown version.
versioned as (
    select
        timed.*,
        coalesce(returns.return_quantity, 0) as return_quantity,
        coalesce(returns.return_amount, 0) as return_amount,
        coalesce(customer_versions.customer_sk, -1) as customer_sk,
        coalesce(customer_versions.customer_version_key, '-1') as customer_version_key
    from timed
    left join returns on timed.sale_key = returns.return_key
    left join customer_versions
        on
            timed.billing_customer_sk = customer_versions.customer_sk
            and coalesce(timed.sold_at, cast('1900-01-01' as timestamp)) >= customer_versions.valid_from
            and coalesce(timed.sold_at, cast('1900-01-01' as timestamp)) < customer_versions.valid_to
),
computed as (
    select
        sale_key,
        sales_channel,
        order_number,
        item_sk,
        customer_sk,
        customer_version_key,
        coalesce(warehouse_sk, -1) as warehouse_sk,
        coalesce(promotion_sk, -1) as promotion_sk,
        sold_date_sk,
        sold_date,
        sold_at,
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
        return_quantity,
        return_amount,
        updated_at
    from versioned
),
    existing as (
        select
            this.sale_key,
            hash(this.sale_key, this.sales_channel, this.order_number, this.item_sk, this.customer_sk, this.customer_version_key, this.warehouse_sk, this.promotion_sk, this.sold_date_sk, this.sold_date, this.sold_at, this.quantity, this.wholesale_cost, this.list_price, this.sales_price, this.discount_amount, this.gross_sales_amount, this.wholesale_amount, this.coupon_amount, this.tax_amount, this.shipping_amount, this.net_paid_amount, this.net_profit_amount, this.return_quantity, this.return_amount, this.updated_at) as content
        from FLOE.build.fct_sales as this
        where true
    ),
-- Only what is new or differs in any column is written: late and corrected rows, sales whose
-- customer has gained a version, sales that were returned since. No date window, so nothing is ever too late.
final as (
    select computed.*
    from computed
        left join existing on computed.sale_key = existing.sale_key
        where
            existing.sale_key is null
            or hash(computed.sale_key, computed.sales_channel, computed.order_number, computed.item_sk, computed.customer_sk, computed.customer_version_key, computed.warehouse_sk, computed.promotion_sk, computed.sold_date_sk, computed.sold_date, computed.sold_at, computed.quantity, computed.wholesale_cost, computed.list_price, computed.sales_price, computed.discount_amount, computed.gross_sales_amount, computed.wholesale_amount, computed.coupon_amount, computed.tax_amount, computed.shipping_amount, computed.net_paid_amount, computed.net_profit_amount, computed.return_quantity, computed.return_amount, computed.updated_at) <> existing.content
)
select * from final
    ) as model_subq
    );

BEGIN;

delete from FLOE.build.fct_sales as DBT_INTERNAL_DEST
        where (sale_key) in (
            select distinct sale_key
            from FLOE.build.fct_sales__dbt_tmp as DBT_INTERNAL_SOURCE
        );

insert into FLOE.build.fct_sales ("SALE_KEY", "SALES_CHANNEL", "ORDER_NUMBER", "ITEM_SK", "CUSTOMER_SK", "CUSTOMER_VERSION_KEY", "WAREHOUSE_SK", "PROMOTION_SK", "SOLD_DATE_SK", "SOLD_DATE", "SOLD_AT", "QUANTITY", "WHOLESALE_COST", "LIST_PRICE", "SALES_PRICE", "DISCOUNT_AMOUNT", "GROSS_SALES_AMOUNT", "WHOLESALE_AMOUNT", "COUPON_AMOUNT", "TAX_AMOUNT", "SHIPPING_AMOUNT", "NET_PAID_AMOUNT", "NET_PROFIT_AMOUNT", "RETURN_QUANTITY", "RETURN_AMOUNT", "UPDATED_AT")
    (
        select "SALE_KEY", "SALES_CHANNEL", "ORDER_NUMBER", "ITEM_SK", "CUSTOMER_SK", "CUSTOMER_VERSION_KEY", "WAREHOUSE_SK", "PROMOTION_SK", "SOLD_DATE_SK", "SOLD_DATE", "SOLD_AT", "QUANTITY", "WHOLESALE_COST", "LIST_PRICE", "SALES_PRICE", "DISCOUNT_AMOUNT", "GROSS_SALES_AMOUNT", "WHOLESALE_AMOUNT", "COUPON_AMOUNT", "TAX_AMOUNT", "SHIPPING_AMOUNT", "NET_PAID_AMOUNT", "NET_PROFIT_AMOUNT", "RETURN_QUANTITY", "RETURN_AMOUNT", "UPDATED_AT"
        from FLOE.build.fct_sales__dbt_tmp
    );

COMMIT;

drop table if exists FLOE.build.fct_sales__dbt_tmp cascade;

delete from FLOE.build.fct_sales
    where true and sale_key not in (
        select sale_key from FLOE.intermediate.int_sales_unioned where true
    );
