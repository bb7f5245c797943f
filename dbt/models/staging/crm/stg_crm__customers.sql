with

source as (

    select * from {{ read_source('crm', 'customer', key=['c_customer_sk'], cursor='updated_at') }}

),

final as (

    select
        -- ids
        cast(c_customer_sk as bigint) as customer_sk,
        cast(c_customer_id as varchar) as customer_id,
        cast(c_current_cdemo_sk as bigint) as customer_demographics_sk,
        cast(c_current_hdemo_sk as bigint) as household_demographics_sk,
        cast(c_current_addr_sk as bigint) as address_sk,
        cast(c_first_shipto_date_sk as bigint) as first_shipped_date_sk,
        cast(c_first_sales_date_sk as bigint) as first_sales_date_sk,
        cast(c_last_review_date_sk as bigint) as last_review_date_sk,

        -- strings
        cast(c_salutation as varchar) as salutation,
        cast(c_first_name as varchar) as first_name,
        cast(c_last_name as varchar) as last_name,
        cast(c_birth_country as varchar) as birth_country,
        cast(c_login as varchar) as login,
        cast(c_email_address as varchar) as email_address,

        -- numerics
        cast(c_birth_day as bigint) as birth_day,
        cast(c_birth_month as bigint) as birth_month,
        cast(c_birth_year as bigint) as birth_year,

        -- booleans
        c_preferred_cust_flag = 'Y' as is_preferred_customer,

        -- timestamps
        {{ utc_timestamp('updated_at') }} as updated_at,
        {{ utc_timestamp('_airbyte_extracted_at') }} as loaded_at
    from source

)

select * from final
