select tombstone.promotion_sk
            from FLOE.snapshots.snp_promotions as tombstone
            inner join FLOE.intermediate.int_promotions_tracked as source_row on tombstone.promotion_sk = source_row.promotion_sk
            where
                tombstone.dbt_is_deleted = 'True'
                and tombstone.dbt_valid_to = cast('9999-12-31' as timestamp)
                and source_row.updated_at <= tombstone.dbt_valid_from;

update FLOE.snapshots.snp_promotions
        set
            promotion_id = source_row.promotion_id,
            promotion_name = source_row.promotion_name,
            item_sk = source_row.item_sk,
            start_date = source_row.start_date,
            end_date = source_row.end_date,
            promotion_cost = source_row.promotion_cost,
            response_target = source_row.response_target,
            purpose = source_row.purpose,
            is_direct_mail = source_row.is_direct_mail,
            is_email = source_row.is_email,
            is_catalog = source_row.is_catalog,
            is_tv = source_row.is_tv,
            is_radio = source_row.is_radio,
            is_press = source_row.is_press,
            is_event = source_row.is_event,
            is_demo = source_row.is_demo,
            is_discount_active = source_row.is_discount_active
        from FLOE.intermediate.int_promotions_tracked as source_row
        where
            snp_promotions.promotion_sk = source_row.promotion_sk
            and snp_promotions.dbt_updated_at >= source_row.updated_at
            and snp_promotions.dbt_valid_to = cast('9999-12-31' as timestamp)
            and snp_promotions.dbt_is_deleted = 'False'
            and (
                snp_promotions.promotion_id is distinct from source_row.promotion_id or
                snp_promotions.promotion_name is distinct from source_row.promotion_name or
                snp_promotions.item_sk is distinct from source_row.item_sk or
                snp_promotions.start_date is distinct from source_row.start_date or
                snp_promotions.end_date is distinct from source_row.end_date or
                snp_promotions.promotion_cost is distinct from source_row.promotion_cost or
                snp_promotions.response_target is distinct from source_row.response_target or
                snp_promotions.purpose is distinct from source_row.purpose or
                snp_promotions.is_direct_mail is distinct from source_row.is_direct_mail or
                snp_promotions.is_email is distinct from source_row.is_email or
                snp_promotions.is_catalog is distinct from source_row.is_catalog or
                snp_promotions.is_tv is distinct from source_row.is_tv or
                snp_promotions.is_radio is distinct from source_row.is_radio or
                snp_promotions.is_press is distinct from source_row.is_press or
                snp_promotions.is_event is distinct from source_row.is_event or
                snp_promotions.is_demo is distinct from source_row.is_demo or
                snp_promotions.is_discount_active is distinct from source_row.is_discount_active
            );

create or replace temporary table "FLOE"."SNAPSHOTS"."SNP_PROMOTIONS__dbt_tmp"
as (
    with snapshot_query as (
        select * from FLOE.intermediate.int_promotions_tracked
    ),
    snapshotted_data as (
        select *,
        promotion_sk as dbt_unique_key
        from "FLOE"."SNAPSHOTS"."SNP_PROMOTIONS"
        where
                ( (dbt_valid_to = cast('9999-12-31' as timestamp)) or dbt_valid_to is null )
    ),
    insertions_source_data as (
        select *,
        promotion_sk as dbt_unique_key
,
            updated_at as dbt_updated_at,
            updated_at as dbt_valid_from,
  coalesce(nullif(updated_at, updated_at), cast('9999-12-31' as timestamp))
  as dbt_valid_to
,
            md5(coalesce(cast(promotion_sk as varchar ), '')
         || '|' || coalesce(cast(updated_at as varchar ), '')
        ) as dbt_scd_id
        from snapshot_query
    ),
    updates_source_data as (
        select *,
        promotion_sk as dbt_unique_key
,
            updated_at as dbt_updated_at,
            updated_at as dbt_valid_from,
            updated_at as dbt_valid_to
        from snapshot_query
    ),
    deletes_source_data as (
        select *,
        promotion_sk as dbt_unique_key
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
               (snapshotted_data."PROMOTION_ID" != source_data."PROMOTION_ID"
        or
        (
            ((snapshotted_data."PROMOTION_ID" is null) and not (source_data."PROMOTION_ID" is null))
            or
            ((not snapshotted_data."PROMOTION_ID" is null) and (source_data."PROMOTION_ID" is null))
        ) or snapshotted_data."PROMOTION_NAME" != source_data."PROMOTION_NAME"
        or
        (
            ((snapshotted_data."PROMOTION_NAME" is null) and not (source_data."PROMOTION_NAME" is null))
            or
            ((not snapshotted_data."PROMOTION_NAME" is null) and (source_data."PROMOTION_NAME" is null))
        ) or snapshotted_data."ITEM_SK" != source_data."ITEM_SK"
        or
        (
            ((snapshotted_data."ITEM_SK" is null) and not (source_data."ITEM_SK" is null))
            or
            ((not snapshotted_data."ITEM_SK" is null) and (source_data."ITEM_SK" is null))
        ) or snapshotted_data."START_DATE" != source_data."START_DATE"
        or
        (
            ((snapshotted_data."START_DATE" is null) and not (source_data."START_DATE" is null))
            or
            ((not snapshotted_data."START_DATE" is null) and (source_data."START_DATE" is null))
        ) or snapshotted_data."END_DATE" != source_data."END_DATE"
        or
        (
            ((snapshotted_data."END_DATE" is null) and not (source_data."END_DATE" is null))
            or
            ((not snapshotted_data."END_DATE" is null) and (source_data."END_DATE" is null))
        ) or snapshotted_data."PROMOTION_COST" != source_data."PROMOTION_COST"
        or
        (
            ((snapshotted_data."PROMOTION_COST" is null) and not (source_data."PROMOTION_COST" is null))
            or
            ((not snapshotted_data."PROMOTION_COST" is null) and (source_data."PROMOTION_COST" is null))
        ) or snapshotted_data."RESPONSE_TARGET" != source_data."RESPONSE_TARGET"
        or
        (
            ((snapshotted_data."RESPONSE_TARGET" is null) and not (source_data."RESPONSE_TARGET" is null))
            or
            ((not snapshotted_data."RESPONSE_TARGET" is null) and (source_data."RESPONSE_TARGET" is null))
        ) or snapshotted_data."PURPOSE" != source_data."PURPOSE"
        or
        (
            ((snapshotted_data."PURPOSE" is null) and not (source_data."PURPOSE" is null))
            or
            ((not snapshotted_data."PURPOSE" is null) and (source_data."PURPOSE" is null))
        ) or snapshotted_data."IS_DIRECT_MAIL" != source_data."IS_DIRECT_MAIL"
        or
        (
            ((snapshotted_data."IS_DIRECT_MAIL" is null) and not (source_data."IS_DIRECT_MAIL" is null))
            or
            ((not snapshotted_data."IS_DIRECT_MAIL" is null) and (source_data."IS_DIRECT_MAIL" is null))
        ) or snapshotted_data."IS_EMAIL" != source_data."IS_EMAIL"
        or
        (
            ((snapshotted_data."IS_EMAIL" is null) and not (source_data."IS_EMAIL" is null))
            or
            ((not snapshotted_data."IS_EMAIL" is null) and (source_data."IS_EMAIL" is null))
        ) or snapshotted_data."IS_CATALOG" != source_data."IS_CATALOG"
        or
        (
            ((snapshotted_data."IS_CATALOG" is null) and not (source_data."IS_CATALOG" is null))
            or
            ((not snapshotted_data."IS_CATALOG" is null) and (source_data."IS_CATALOG" is null))
        ) or snapshotted_data."IS_TV" != source_data."IS_TV"
        or
        (
            ((snapshotted_data."IS_TV" is null) and not (source_data."IS_TV" is null))
            or
            ((not snapshotted_data."IS_TV" is null) and (source_data."IS_TV" is null))
        ) or snapshotted_data."IS_RADIO" != source_data."IS_RADIO"
        or
        (
            ((snapshotted_data."IS_RADIO" is null) and not (source_data."IS_RADIO" is null))
            or
            ((not snapshotted_data."IS_RADIO" is null) and (source_data."IS_RADIO" is null))
        ) or snapshotted_data."IS_PRESS" != source_data."IS_PRESS"
        or
        (
            ((snapshotted_data."IS_PRESS" is null) and not (source_data."IS_PRESS" is null))
            or
            ((not snapshotted_data."IS_PRESS" is null) and (source_data."IS_PRESS" is null))
        ) or snapshotted_data."IS_EVENT" != source_data."IS_EVENT"
        or
        (
            ((snapshotted_data."IS_EVENT" is null) and not (source_data."IS_EVENT" is null))
            or
            ((not snapshotted_data."IS_EVENT" is null) and (source_data."IS_EVENT" is null))
        ) or snapshotted_data."IS_DEMO" != source_data."IS_DEMO"
        or
        (
            ((snapshotted_data."IS_DEMO" is null) and not (source_data."IS_DEMO" is null))
            or
            ((not snapshotted_data."IS_DEMO" is null) and (source_data."IS_DEMO" is null))
        ) or snapshotted_data."IS_DISCOUNT_ACTIVE" != source_data."IS_DISCOUNT_ACTIVE"
        or
        (
            ((snapshotted_data."IS_DISCOUNT_ACTIVE" is null) and not (source_data."IS_DISCOUNT_ACTIVE" is null))
            or
            ((not snapshotted_data."IS_DISCOUNT_ACTIVE" is null) and (source_data."IS_DISCOUNT_ACTIVE" is null))
        ))or snapshotted_data.dbt_is_deleted = 'True'
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
            (snapshotted_data."PROMOTION_ID" != source_data."PROMOTION_ID"
        or
        (
            ((snapshotted_data."PROMOTION_ID" is null) and not (source_data."PROMOTION_ID" is null))
            or
            ((not snapshotted_data."PROMOTION_ID" is null) and (source_data."PROMOTION_ID" is null))
        ) or snapshotted_data."PROMOTION_NAME" != source_data."PROMOTION_NAME"
        or
        (
            ((snapshotted_data."PROMOTION_NAME" is null) and not (source_data."PROMOTION_NAME" is null))
            or
            ((not snapshotted_data."PROMOTION_NAME" is null) and (source_data."PROMOTION_NAME" is null))
        ) or snapshotted_data."ITEM_SK" != source_data."ITEM_SK"
        or
        (
            ((snapshotted_data."ITEM_SK" is null) and not (source_data."ITEM_SK" is null))
            or
            ((not snapshotted_data."ITEM_SK" is null) and (source_data."ITEM_SK" is null))
        ) or snapshotted_data."START_DATE" != source_data."START_DATE"
        or
        (
            ((snapshotted_data."START_DATE" is null) and not (source_data."START_DATE" is null))
            or
            ((not snapshotted_data."START_DATE" is null) and (source_data."START_DATE" is null))
        ) or snapshotted_data."END_DATE" != source_data."END_DATE"
        or
        (
            ((snapshotted_data."END_DATE" is null) and not (source_data."END_DATE" is null))
            or
            ((not snapshotted_data."END_DATE" is null) and (source_data."END_DATE" is null))
        ) or snapshotted_data."PROMOTION_COST" != source_data."PROMOTION_COST"
        or
        (
            ((snapshotted_data."PROMOTION_COST" is null) and not (source_data."PROMOTION_COST" is null))
            or
            ((not snapshotted_data."PROMOTION_COST" is null) and (source_data."PROMOTION_COST" is null))
        ) or snapshotted_data."RESPONSE_TARGET" != source_data."RESPONSE_TARGET"
        or
        (
            ((snapshotted_data."RESPONSE_TARGET" is null) and not (source_data."RESPONSE_TARGET" is null))
            or
            ((not snapshotted_data."RESPONSE_TARGET" is null) and (source_data."RESPONSE_TARGET" is null))
        ) or snapshotted_data."PURPOSE" != source_data."PURPOSE"
        or
        (
            ((snapshotted_data."PURPOSE" is null) and not (source_data."PURPOSE" is null))
            or
            ((not snapshotted_data."PURPOSE" is null) and (source_data."PURPOSE" is null))
        ) or snapshotted_data."IS_DIRECT_MAIL" != source_data."IS_DIRECT_MAIL"
        or
        (
            ((snapshotted_data."IS_DIRECT_MAIL" is null) and not (source_data."IS_DIRECT_MAIL" is null))
            or
            ((not snapshotted_data."IS_DIRECT_MAIL" is null) and (source_data."IS_DIRECT_MAIL" is null))
        ) or snapshotted_data."IS_EMAIL" != source_data."IS_EMAIL"
        or
        (
            ((snapshotted_data."IS_EMAIL" is null) and not (source_data."IS_EMAIL" is null))
            or
            ((not snapshotted_data."IS_EMAIL" is null) and (source_data."IS_EMAIL" is null))
        ) or snapshotted_data."IS_CATALOG" != source_data."IS_CATALOG"
        or
        (
            ((snapshotted_data."IS_CATALOG" is null) and not (source_data."IS_CATALOG" is null))
            or
            ((not snapshotted_data."IS_CATALOG" is null) and (source_data."IS_CATALOG" is null))
        ) or snapshotted_data."IS_TV" != source_data."IS_TV"
        or
        (
            ((snapshotted_data."IS_TV" is null) and not (source_data."IS_TV" is null))
            or
            ((not snapshotted_data."IS_TV" is null) and (source_data."IS_TV" is null))
        ) or snapshotted_data."IS_RADIO" != source_data."IS_RADIO"
        or
        (
            ((snapshotted_data."IS_RADIO" is null) and not (source_data."IS_RADIO" is null))
            or
            ((not snapshotted_data."IS_RADIO" is null) and (source_data."IS_RADIO" is null))
        ) or snapshotted_data."IS_PRESS" != source_data."IS_PRESS"
        or
        (
            ((snapshotted_data."IS_PRESS" is null) and not (source_data."IS_PRESS" is null))
            or
            ((not snapshotted_data."IS_PRESS" is null) and (source_data."IS_PRESS" is null))
        ) or snapshotted_data."IS_EVENT" != source_data."IS_EVENT"
        or
        (
            ((snapshotted_data."IS_EVENT" is null) and not (source_data."IS_EVENT" is null))
            or
            ((not snapshotted_data."IS_EVENT" is null) and (source_data."IS_EVENT" is null))
        ) or snapshotted_data."IS_DEMO" != source_data."IS_DEMO"
        or
        (
            ((snapshotted_data."IS_DEMO" is null) and not (source_data."IS_DEMO" is null))
            or
            ((not snapshotted_data."IS_DEMO" is null) and (source_data."IS_DEMO" is null))
        ) or snapshotted_data."IS_DISCOUNT_ACTIVE" != source_data."IS_DISCOUNT_ACTIVE"
        or
        (
            ((snapshotted_data."IS_DISCOUNT_ACTIVE" is null) and not (source_data."IS_DISCOUNT_ACTIVE" is null))
            or
            ((not snapshotted_data."IS_DISCOUNT_ACTIVE" is null) and (source_data."IS_DISCOUNT_ACTIVE" is null))
        ))or snapshotted_data.dbt_is_deleted = 'True'
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
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_promotions_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_promotions
        ) as changes
    ) as dbt_valid_from,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_promotions_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_promotions
        ) as changes
    ) as dbt_updated_at,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_promotions_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_promotions
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
            'insert' as dbt_change_type,snapshotted_data."PROMOTION_SK",snapshotted_data."PROMOTION_ID",snapshotted_data."PROMOTION_NAME",snapshotted_data."ITEM_SK",snapshotted_data."START_DATE",snapshotted_data."END_DATE",snapshotted_data."PROMOTION_COST",snapshotted_data."RESPONSE_TARGET",snapshotted_data."PURPOSE",snapshotted_data."IS_DIRECT_MAIL",snapshotted_data."IS_EMAIL",snapshotted_data."IS_CATALOG",snapshotted_data."IS_TV",snapshotted_data."IS_RADIO",snapshotted_data."IS_PRESS",snapshotted_data."IS_EVENT",snapshotted_data."IS_DEMO",snapshotted_data."IS_DISCOUNT_ACTIVE",snapshotted_data."UPDATED_AT",snapshotted_data.dbt_unique_key as dbt_unique_key,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_promotions_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_promotions
        ) as changes
    ) as dbt_valid_from,
            (
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_promotions_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_promotions
        ) as changes
    ) as dbt_updated_at,
            snapshotted_data.dbt_valid_to as dbt_valid_to,
            md5(coalesce(cast(dbt_scd_id as varchar ), '')
         || '|' || coalesce(cast((
        select dateadd(microsecond, 1, max(changed_at))
        from (
            select max(updated_at) as changed_at from (select * from FLOE.intermediate.int_promotions_tracked) as source_rows
            union all
            select max(dbt_valid_from) as changed_at from FLOE.snapshots.snp_promotions
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

merge into "FLOE"."SNAPSHOTS"."SNP_PROMOTIONS" as DBT_INTERNAL_DEST
    using "FLOE"."SNAPSHOTS"."SNP_PROMOTIONS__dbt_tmp" as DBT_INTERNAL_SOURCE
    on DBT_INTERNAL_SOURCE.dbt_scd_id = DBT_INTERNAL_DEST.dbt_scd_id
    when matched
	and ((DBT_INTERNAL_DEST.dbt_valid_to = cast('9999-12-31' as timestamp)) or DBT_INTERNAL_DEST.dbt_valid_to is null)
     and DBT_INTERNAL_SOURCE.dbt_change_type in ('update', 'delete')
        then update
        set dbt_valid_to = DBT_INTERNAL_SOURCE.dbt_valid_to
    when not matched
     and DBT_INTERNAL_SOURCE.dbt_change_type = 'insert'
        then insert ("PROMOTION_SK", "PROMOTION_ID", "PROMOTION_NAME", "ITEM_SK", "START_DATE", "END_DATE", "PROMOTION_COST", "RESPONSE_TARGET", "PURPOSE", "IS_DIRECT_MAIL", "IS_EMAIL", "IS_CATALOG", "IS_TV", "IS_RADIO", "IS_PRESS", "IS_EVENT", "IS_DEMO", "IS_DISCOUNT_ACTIVE", "UPDATED_AT", "DBT_UPDATED_AT", "DBT_VALID_FROM", "DBT_VALID_TO", "DBT_SCD_ID", "DBT_IS_DELETED")
        values ("PROMOTION_SK", "PROMOTION_ID", "PROMOTION_NAME", "ITEM_SK", "START_DATE", "END_DATE", "PROMOTION_COST", "RESPONSE_TARGET", "PURPOSE", "IS_DIRECT_MAIL", "IS_EMAIL", "IS_CATALOG", "IS_TV", "IS_RADIO", "IS_PRESS", "IS_EVENT", "IS_DEMO", "IS_DISCOUNT_ACTIVE", "UPDATED_AT", "DBT_UPDATED_AT", "DBT_VALID_FROM", "DBT_VALID_TO", "DBT_SCD_ID", "DBT_IS_DELETED");

COMMIT;
