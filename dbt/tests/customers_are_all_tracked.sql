-- Every customer of staging is tracked once: a lost one would enter the history as deleted.
with

customers as (

    select * from {{ ref('stg_crm__customers') }}

),

tracked as (

    select * from {{ ref('int_customers_tracked') }}

),

final as (

    select
        customers.customer_sk,
        count(tracked.customer_sk) as tracked_count
    from customers
    left join tracked on customers.customer_sk = tracked.customer_sk
    group by 1

)

select * from final
where tracked_count <> 1
