create or replace   view FLOE.intermediate.int_customers_tracked
  as (
    with
customers as (
    select * from FLOE.staging.stg_crm__customers
),
addresses as (
    select * from FLOE.staging.stg_crm__customer_addresses
),
customer_demographics as (
    select * from FLOE.staging.stg_crm__customer_demographics
),
household_demographics as (
    select * from FLOE.staging.stg_crm__household_demographics
),
income_bands as (
    select * from FLOE.staging.stg_crm__income_bands
),
dates as (
    select * from FLOE.staging.stg_erp__dates
),
-- Left joins only: a customer without an address or demographics is still a customer.
final as (
    select
        customers.customer_sk,
        customers.customer_id,
        customers.salutation,
        customers.first_name,
        customers.last_name,
        customers.email_address,
        customers.birth_year,
        customers.birth_country,
        customers.is_preferred_customer,
        customers.address_sk,
        addresses.city,
        addresses.county,
        addresses.state,
        addresses.zip_code,
        addresses.country,
        customer_demographics.gender,
        customer_demographics.marital_status,
        customer_demographics.education_status,
        customer_demographics.credit_rating,
        household_demographics.buy_potential,
        income_bands.income_lower_bound,
        income_bands.income_upper_bound,
        dates.date as first_sales_date,
        -- The address can change while the customer's own row does not.
        greatest(
            customers.updated_at,
            coalesce(addresses.updated_at, customers.updated_at)
        ) as updated_at
    from customers
    left join addresses on customers.address_sk = addresses.address_sk
    left join customer_demographics
        on customers.customer_demographics_sk = customer_demographics.customer_demographics_sk
    left join household_demographics
        on customers.household_demographics_sk = household_demographics.household_demographics_sk
    left join income_bands on household_demographics.income_band_sk = income_bands.income_band_sk
    left join dates on customers.first_sales_date_sk = dates.date_sk
)
select * from final
  );
