with

history as (

    select * from {{ ref('dim_customers_history') }}

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
