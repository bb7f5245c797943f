select tombstone.customer_sk
            from FLOE.snapshots.snp_customers as tombstone
            inner join FLOE.intermediate.int_customers_tracked as source_row on tombstone.customer_sk = source_row.customer_sk
            where
                tombstone.dbt_is_deleted = 'True'
                and tombstone.dbt_valid_to = cast('9999-12-31' as timestamp)
                and source_row.updated_at <= tombstone.dbt_valid_from;

delete from FLOE.snapshots.snp_customers
        where
            customer_sk in (103)
            and dbt_is_deleted = 'True'
            and dbt_valid_to = cast('9999-12-31' as timestamp);

update FLOE.snapshots.snp_customers set dbt_valid_to = cast('9999-12-31' as timestamp)
        where
            customer_sk in (103)
            and (customer_sk, dbt_valid_to) in (
                select customer_sk, max(dbt_valid_to) from FLOE.snapshots.snp_customers group by customer_sk
            );

create or replace temporary table "FLOE"."SNAPSHOTS"."SNP_CUSTOMERS__dbt_tmp"
as (
    with snapshot_query as (
        select * from FLOE.intermediate.int_customers_tracked
    ),
    snapshotted_data as (
        select *,
        customer_sk as dbt_unique_key
        from "FLOE"."SNAPSHOTS"."SNP_CUSTOMERS"
        where
                ( (dbt_valid_to = cast('9999-12-31' as timestamp)) or dbt_valid_to is null )
    ),
    insertions_source_data as (
        select *,
        customer_sk as dbt_unique_key
,
            updated_at as dbt_updated_at,
            updated_at as dbt_valid_from,
  coalesce(nullif(updated_at, updated_at), cast('9999-12-31' as timestamp))
  as dbt_valid_to
,
            md5(coalesce(cast(customer_sk as varchar ), '')
         || '|' || coalesce(cast(updated_at as varchar ), '')
        ) as dbt_scd_id
        from snapshot_query
    ),
    updates_source_data as (
        select *,
        customer_sk as dbt_unique_key
,
            updated_at as dbt_updated_at,
            updated_at as dbt_valid_from,
            updated_at as dbt_valid_to
        from snapshot_query
    ),
    deletes_source_data as (
        select *,
        customer_sk as dbt_unique_key
        from snapshot_query
    ),
    insertions as (
        select
            'insert' as dbt_change_type,
            source_data.*,'False' as dbt_is_deleted
        from insertions_source_data as source_data
        left outer join snapshotted_data
            on
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
            where
        snapshotted_data.dbt_unique_key is null
            or (
        snapshotted_data.dbt_unique_key is not null
 and (
               (snapshotted_data.dbt_valid_from < source_data.updated_at)or snapshotted_data.dbt_is_deleted = 'True'
            )
        )
    ),
    updates as (
        select
            'update' as dbt_change_type,
            source_data.*,
            snapshotted_data.dbt_scd_id, snapshotted_data.dbt_is_deleted
        from updates_source_data as source_data
        join snapshotted_data
            on
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
        where (
            (snapshotted_data.dbt_valid_from < source_data.updated_at)or snapshotted_data.dbt_is_deleted = 'True'
        )
    )
    ,
    deletes as (
        select
            'delete' as dbt_change_type,
            source_data.*,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_customers_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_customers
        ) as changes
    ) as dbt_valid_from,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_customers_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_customers
        ) as changes
    ) as dbt_updated_at,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_customers_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_customers
        ) as changes
    ) as dbt_valid_to,
            snapshotted_data.dbt_scd_id, snapshotted_data.dbt_is_deleted
        from snapshotted_data
        left join deletes_source_data as source_data
            on
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
            where
        source_data.dbt_unique_key is null
            and not (
                --avoid updating the record's valid_to if the latest entry is marked as deleted
                snapshotted_data.dbt_is_deleted = 'True'
                and
                snapshotted_data.dbt_valid_to = cast('9999-12-31' as timestamp)
            )
    )
    ,
    deletion_records as (
        select
            'insert' as dbt_change_type,snapshotted_data."CUSTOMER_SK",snapshotted_data."CUSTOMER_ID",snapshotted_data."SALUTATION",snapshotted_data."FIRST_NAME",snapshotted_data."LAST_NAME",snapshotted_data."EMAIL_ADDRESS",snapshotted_data."BIRTH_YEAR",snapshotted_data."BIRTH_COUNTRY",snapshotted_data."IS_PREFERRED_CUSTOMER",snapshotted_data."ADDRESS_SK",snapshotted_data."CITY",snapshotted_data."COUNTY",snapshotted_data."STATE",snapshotted_data."ZIP_CODE",snapshotted_data."COUNTRY",snapshotted_data."GENDER",snapshotted_data."MARITAL_STATUS",snapshotted_data."EDUCATION_STATUS",snapshotted_data."CREDIT_RATING",snapshotted_data."BUY_POTENTIAL",snapshotted_data."INCOME_LOWER_BOUND",snapshotted_data."INCOME_UPPER_BOUND",snapshotted_data."FIRST_SALES_DATE",snapshotted_data."UPDATED_AT",snapshotted_data.dbt_unique_key as dbt_unique_key,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_customers_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_customers
        ) as changes
    ) as dbt_valid_from,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_customers_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_customers
        ) as changes
    ) as dbt_updated_at,
            snapshotted_data.dbt_valid_to as dbt_valid_to,
            md5(coalesce(cast(dbt_scd_id as varchar ), '')
         || '|' || coalesce(cast((
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_customers_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_customers
        ) as changes
    ) as varchar ), '')
        ) as dbt_scd_id,
            'True' as dbt_is_deleted
        from snapshotted_data
        left join deletes_source_data as source_data
            on
        snapshotted_data.dbt_unique_key = source_data.dbt_unique_key
        where
        source_data.dbt_unique_key is null
        and not (
            --avoid inserting a new record if the latest one is marked as deleted
            snapshotted_data.dbt_is_deleted = 'True'
            and
            snapshotted_data.dbt_valid_to = cast('9999-12-31' as timestamp)
            )
    )
    select * from insertions
    union all
    select * from updates
    union all
    select * from deletes
    union all
    select * from deletion_records
    );

BEGIN;

merge into "FLOE"."SNAPSHOTS"."SNP_CUSTOMERS" as DBT_INTERNAL_DEST
    using "FLOE"."SNAPSHOTS"."SNP_CUSTOMERS__dbt_tmp" as DBT_INTERNAL_SOURCE
    on DBT_INTERNAL_SOURCE.dbt_scd_id = DBT_INTERNAL_DEST.dbt_scd_id
    when matched
	and ((DBT_INTERNAL_DEST.dbt_valid_to = cast('9999-12-31' as timestamp)) or DBT_INTERNAL_DEST.dbt_valid_to is null)
     and DBT_INTERNAL_SOURCE.dbt_change_type in ('update', 'delete')
        then update
        set dbt_valid_to = DBT_INTERNAL_SOURCE.dbt_valid_to
    when not matched
     and DBT_INTERNAL_SOURCE.dbt_change_type = 'insert'
        then insert ("CUSTOMER_SK", "CUSTOMER_ID", "SALUTATION", "FIRST_NAME", "LAST_NAME", "EMAIL_ADDRESS", "BIRTH_YEAR", "BIRTH_COUNTRY", "IS_PREFERRED_CUSTOMER", "ADDRESS_SK", "CITY", "COUNTY", "STATE", "ZIP_CODE", "COUNTRY", "GENDER", "MARITAL_STATUS", "EDUCATION_STATUS", "CREDIT_RATING", "BUY_POTENTIAL", "INCOME_LOWER_BOUND", "INCOME_UPPER_BOUND", "FIRST_SALES_DATE", "UPDATED_AT", "DBT_UPDATED_AT", "DBT_VALID_FROM", "DBT_VALID_TO", "DBT_SCD_ID", "DBT_IS_DELETED")
        values ("CUSTOMER_SK", "CUSTOMER_ID", "SALUTATION", "FIRST_NAME", "LAST_NAME", "EMAIL_ADDRESS", "BIRTH_YEAR", "BIRTH_COUNTRY", "IS_PREFERRED_CUSTOMER", "ADDRESS_SK", "CITY", "COUNTY", "STATE", "ZIP_CODE", "COUNTRY", "GENDER", "MARITAL_STATUS", "EDUCATION_STATUS", "CREDIT_RATING", "BUY_POTENTIAL", "INCOME_LOWER_BOUND", "INCOME_UPPER_BOUND", "FIRST_SALES_DATE", "UPDATED_AT", "DBT_UPDATED_AT", "DBT_VALID_FROM", "DBT_VALID_TO", "DBT_SCD_ID", "DBT_IS_DELETED");

COMMIT;

update FLOE.snapshots.snp_customers
        set
            customer_id = source_row.customer_id,
            salutation = source_row.salutation,
            first_name = source_row.first_name,
            last_name = source_row.last_name,
            email_address = source_row.email_address,
            birth_year = source_row.birth_year,
            birth_country = source_row.birth_country,
            is_preferred_customer = source_row.is_preferred_customer,
            address_sk = source_row.address_sk,
            city = source_row.city,
            county = source_row.county,
            state = source_row.state,
            zip_code = source_row.zip_code,
            country = source_row.country,
            gender = source_row.gender,
            marital_status = source_row.marital_status,
            education_status = source_row.education_status,
            credit_rating = source_row.credit_rating,
            buy_potential = source_row.buy_potential,
            income_lower_bound = source_row.income_lower_bound,
            income_upper_bound = source_row.income_upper_bound,
            first_sales_date = source_row.first_sales_date
        from FLOE.intermediate.int_customers_tracked as source_row
        where
            snp_customers.customer_sk = source_row.customer_sk
            and snp_customers.dbt_updated_at >= source_row.updated_at
            and snp_customers.dbt_valid_to = cast('9999-12-31' as timestamp)
            and snp_customers.dbt_is_deleted = 'False'
            and (
                snp_customers.customer_id is distinct from source_row.customer_id or
                snp_customers.salutation is distinct from source_row.salutation or
                snp_customers.first_name is distinct from source_row.first_name or
                snp_customers.last_name is distinct from source_row.last_name or
                snp_customers.email_address is distinct from source_row.email_address or
                snp_customers.birth_year is distinct from source_row.birth_year or
                snp_customers.birth_country is distinct from source_row.birth_country or
                snp_customers.is_preferred_customer is distinct from source_row.is_preferred_customer or
                snp_customers.address_sk is distinct from source_row.address_sk or
                snp_customers.city is distinct from source_row.city or
                snp_customers.county is distinct from source_row.county or
                snp_customers.state is distinct from source_row.state or
                snp_customers.zip_code is distinct from source_row.zip_code or
                snp_customers.country is distinct from source_row.country or
                snp_customers.gender is distinct from source_row.gender or
                snp_customers.marital_status is distinct from source_row.marital_status or
                snp_customers.education_status is distinct from source_row.education_status or
                snp_customers.credit_rating is distinct from source_row.credit_rating or
                snp_customers.buy_potential is distinct from source_row.buy_potential or
                snp_customers.income_lower_bound is distinct from source_row.income_lower_bound or
                snp_customers.income_upper_bound is distinct from source_row.income_upper_bound or
                snp_customers.first_sales_date is distinct from source_row.first_sales_date
            );
