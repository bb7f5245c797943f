create or replace transient table FLOE.build.dim_customers
  (
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
    is_deleted boolean not null
    )
    as (
    select customer_sk, customer_id, salutation, first_name, last_name, email_address, birth_year, birth_country, is_preferred_customer, address_sk, city, county, state, zip_code, country, gender, marital_status, education_status, credit_rating, buy_potential, income_lower_bound, income_upper_bound, first_sales_date, is_deleted
    from (
        with
history as (
    select * from FLOE.build.dim_customers_history
),
-- A deleted customer stays, marked: older sales still lead to one row each.
final as (
    select
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
        is_deleted
    from history
    where is_current
)
select * from final
    ) as model_subq
    );
