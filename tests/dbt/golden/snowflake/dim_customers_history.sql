create or replace transient table FLOE.build.dim_customers_history
  (
    customer_version_key varchar not null,
    customer_sk bigint not null,
    customer_id varchar not null,
    salutation varchar,
    first_name varchar,
    last_name varchar,
    email_address varchar,
    birth_year bigint,
    birth_country varchar,
    is_preferred_customer boolean,
    address_sk bigint,
    city varchar,
    county varchar,
    state varchar,
    zip_code varchar,
    country varchar,
    gender varchar,
    marital_status varchar,
    education_status varchar,
    credit_rating varchar,
    buy_potential varchar,
    income_lower_bound bigint,
    income_upper_bound bigint,
    first_sales_date date,
    valid_from timestamp not null,
    valid_to timestamp not null,
    is_current boolean not null,
    is_deleted boolean not null
    )
    as (
    select customer_version_key, customer_sk, customer_id, salutation, first_name, last_name, email_address, birth_year, birth_country, is_preferred_customer, address_sk, city, county, state, zip_code, country, gender, marital_status, education_status, credit_rating, buy_potential, income_lower_bound, income_upper_bound, first_sales_date, valid_from, valid_to, is_current, is_deleted
    from (
        with
versions as (
    select * from FLOE.snapshots.snp_customers
),
-- What is not known to have been otherwise is taken to have been so since ever: the first version of a
-- customer reaches back to before the first sale.
opened as (
    select
        dbt_scd_id as customer_version_key,
        customer_sk,
        customer_id,
        salutation,
        first_name,
        last_name,
        email_address,
        birth_year,
        birth_country,
        is_preferred_customer,
        address_sk,
        city,
        county,
        state,
        zip_code,
        country,
        gender,
        marital_status,
        education_status,
        credit_rating,
        buy_potential,
        income_lower_bound,
        income_upper_bound,
        first_sales_date,
        case
            when row_number() over (partition by customer_sk order by dbt_valid_from) = 1
                then cast('1900-01-01' as timestamp)
            else dbt_valid_from
        end as valid_from,
        dbt_valid_to as valid_to,
        dbt_valid_to = cast('9999-12-31' as timestamp) as is_current,
        dbt_is_deleted = 'True' as is_deleted
    from versions
),
unknown_customer as (
    select
        '-1' as customer_version_key,
        -1 as customer_sk,
        'UNKNOWN' as customer_id,
        cast(null as varchar) as salutation,
        cast(null as varchar) as first_name,
        cast(null as varchar) as last_name,
        cast(null as varchar) as email_address,
        cast(null as bigint) as birth_year,
        cast(null as varchar) as birth_country,
        cast(null as boolean) as is_preferred_customer,
        cast(null as bigint) as address_sk,
        cast(null as varchar) as city,
        cast(null as varchar) as county,
        cast(null as varchar) as state,
        cast(null as varchar) as zip_code,
        cast(null as varchar) as country,
        cast(null as varchar) as gender,
        cast(null as varchar) as marital_status,
        cast(null as varchar) as education_status,
        cast(null as varchar) as credit_rating,
        cast(null as varchar) as buy_potential,
        cast(null as bigint) as income_lower_bound,
        cast(null as bigint) as income_upper_bound,
        cast(null as date) as first_sales_date,
        cast('1900-01-01' as timestamp) as valid_from,
        cast('9999-12-31' as timestamp) as valid_to,
        true as is_current,
        false as is_deleted
),
final as (
    select * from opened
    union all
    select * from unknown_customer
)
select * from final
    ) as model_subq
    );
