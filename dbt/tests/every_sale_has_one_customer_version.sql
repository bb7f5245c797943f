-- Each sale joins exactly one version of its customer: the one whose validity holds its instant.
with

sales as (

    select * from {{ ref('fct_sales') }}

),

customer_versions as (

    select * from {{ ref('dim_customers_history') }}

),

joined as (

    select
        sales.sale_key,
        count(customer_versions.customer_version_key) as version_count,
        count(
            case when sales.customer_version_key = customer_versions.customer_version_key then 1 end
        ) as same_version_count
    from sales
    left join customer_versions
        on
            sales.customer_sk = customer_versions.customer_sk
            and coalesce(sales.sold_at, cast('1900-01-01' as timestamp)) >= customer_versions.valid_from
            and coalesce(sales.sold_at, cast('1900-01-01' as timestamp)) < customer_versions.valid_to
    group by sales.sale_key

)

select * from joined
where version_count <> 1 or same_version_count <> 1
