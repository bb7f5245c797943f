{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='sale_key',
        on_schema_change='fail',
        post_hook="{{ delete_rows_not_in(
            [ref('int_sales_unioned')], 'sale_key', 'order_number', changed_orders()
        ) }}",
    )
}}

{% set orders = changed_orders() if is_incremental() %}
{% set wanted_orders = 'select order_number from changed_orders' if orders %}

with

{% if orders %}
    changed_orders as (

        {{ orders }}

    ),
{% endif %}

sales as (

    select * from {{ ref('int_sales_unioned') }}
    where {{ is_among('order_number', wanted_orders) }}

),

dates as (

    select * from {{ ref('stg_erp__dates') }}

),

times as (

    select * from {{ ref('stg_erp__times') }}

),

customer_versions as (

    select * from {{ ref('dim_customers_history') }}

),

returns as (

    select * from {{ ref('int_returns_unioned') }}

),

timed as (

    select
        sales.*,
        dates.date as sold_date,
        {{ timestamp_of('dates.date', 'coalesce(times.second_of_day, 0)') }} as sold_at
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

{% if is_incremental() %}
    existing as (

        select
            this.sale_key,
            {{ contract_hash('this') }} as content
        from {{ this }} as this
        where {{ is_among('this.order_number', wanted_orders) }}

    ),
{% endif %}

-- Only what is new or differs in any column is written: late and corrected rows, sales whose
-- customer has gained a version, sales that were returned since. No date window, so nothing is ever too late.
final as (

    select computed.*
    from computed
    {% if is_incremental() %}
        left join existing on computed.sale_key = existing.sale_key
        where
            existing.sale_key is null
            or {{ contract_hash('computed') }} <> existing.content
    {% endif %}

)

select * from final
