create or replace   view FLOE.staging.stg_crm__customers
  as (
    with
source as (
    select * from (
        with
    latest_repairs as (
        select * from "FLOE"."RAW_CRM"."__FLOE_REPAIRS_CUSTOMER"
        qualify row_number() over (
            partition by "C_CUSTOMER_SK"
            order by _floe_repaired_at desc, "UPDATED_AT" desc nulls last
        ) = 1
    ),
    judged_repairs as (
        select
            repair.*,
            case
                when replicated."C_CUSTOMER_SK" is null then 0
                when replicated."UPDATED_AT" > repair."UPDATED_AT" then 1
                when replicated."UPDATED_AT" < repair."UPDATED_AT" then 0
                when replicated."UPDATED_AT" is null and repair."UPDATED_AT" is not null then 0
                when replicated."UPDATED_AT" is not null and repair."UPDATED_AT" is null then 1
                when replicated._airbyte_extracted_at > repair._floe_repaired_at then 1
                else 0
            end as raw_wins
        from latest_repairs as repair
        left join FLOE.raw_crm.customer as replicated
            on repair."C_CUSTOMER_SK" = replicated."C_CUSTOMER_SK"
    )
    select
        replicated."C_CUSTOMER_SK",
        replicated."C_CUSTOMER_ID",
        replicated."C_CURRENT_CDEMO_SK",
        replicated."C_CURRENT_HDEMO_SK",
        replicated."C_CURRENT_ADDR_SK",
        replicated."C_FIRST_SHIPTO_DATE_SK",
        replicated."C_FIRST_SALES_DATE_SK",
        replicated."C_SALUTATION",
        replicated."C_FIRST_NAME",
        replicated."C_LAST_NAME",
        replicated."C_PREFERRED_CUST_FLAG",
        replicated."C_BIRTH_DAY",
        replicated."C_BIRTH_MONTH",
        replicated."C_BIRTH_YEAR",
        replicated."C_BIRTH_COUNTRY",
        replicated."C_LOGIN",
        replicated."C_EMAIL_ADDRESS",
        replicated."C_LAST_REVIEW_DATE_SK",
        replicated."UPDATED_AT",
        replicated."_AIRBYTE_RAW_ID",
        replicated."_AIRBYTE_EXTRACTED_AT",
        replicated."_AIRBYTE_META",
        replicated."_AIRBYTE_GENERATION_ID"
        from FLOE.raw_crm.customer as replicated
    where not exists (
        select 1 from judged_repairs as repair
        where repair.raw_wins = 0
            and repair."C_CUSTOMER_SK" = replicated."C_CUSTOMER_SK"
    )
    union all
    select
        repair."C_CUSTOMER_SK" as "C_CUSTOMER_SK",
        repair."C_CUSTOMER_ID" as "C_CUSTOMER_ID",
        repair."C_CURRENT_CDEMO_SK" as "C_CURRENT_CDEMO_SK",
        repair."C_CURRENT_HDEMO_SK" as "C_CURRENT_HDEMO_SK",
        repair."C_CURRENT_ADDR_SK" as "C_CURRENT_ADDR_SK",
        repair."C_FIRST_SHIPTO_DATE_SK" as "C_FIRST_SHIPTO_DATE_SK",
        repair."C_FIRST_SALES_DATE_SK" as "C_FIRST_SALES_DATE_SK",
        repair."C_SALUTATION" as "C_SALUTATION",
        repair."C_FIRST_NAME" as "C_FIRST_NAME",
        repair."C_LAST_NAME" as "C_LAST_NAME",
        repair."C_PREFERRED_CUST_FLAG" as "C_PREFERRED_CUST_FLAG",
        repair."C_BIRTH_DAY" as "C_BIRTH_DAY",
        repair."C_BIRTH_MONTH" as "C_BIRTH_MONTH",
        repair."C_BIRTH_YEAR" as "C_BIRTH_YEAR",
        repair."C_BIRTH_COUNTRY" as "C_BIRTH_COUNTRY",
        repair."C_LOGIN" as "C_LOGIN",
        repair."C_EMAIL_ADDRESS" as "C_EMAIL_ADDRESS",
        repair."C_LAST_REVIEW_DATE_SK" as "C_LAST_REVIEW_DATE_SK",
        repair."UPDATED_AT" as "UPDATED_AT",
        repair."_AIRBYTE_RAW_ID" as "_AIRBYTE_RAW_ID",
        coalesce(repair."_AIRBYTE_EXTRACTED_AT", repair._floe_repaired_at) as "_AIRBYTE_EXTRACTED_AT",
        repair."_AIRBYTE_META" as "_AIRBYTE_META",
        repair."_AIRBYTE_GENERATION_ID" as "_AIRBYTE_GENERATION_ID"
        from judged_repairs as repair
    where repair.raw_wins = 0 and repair._floe_repair_action <> 'delete'
        ) as merged
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
        cast(convert_timezone('UTC', updated_at) as timestamp_ntz) as updated_at,
        cast(convert_timezone('UTC', _airbyte_extracted_at) as timestamp_ntz) as loaded_at
    from source
)
select * from final
  );
