-- A sale has the customer it was billed to whenever the history knows that customer, from whatever time.
with

sales as (

    select * from {{ ref('fct_sales') }}

),

source_sales as (

    select * from {{ ref('int_sales_unioned') }}

),

known_customers as (

    select distinct customer_sk from {{ ref('dim_customers_history') }}

),

final as (

    select
        sales.sale_key,
        sales.customer_sk,
        coalesce(known_customers.customer_sk, -1) as expected_customer_sk
    from sales
    inner join source_sales on sales.sale_key = source_sales.sale_key
    left join known_customers on source_sales.billing_customer_sk = known_customers.customer_sk

)

select * from final
where customer_sk <> expected_customer_sk
