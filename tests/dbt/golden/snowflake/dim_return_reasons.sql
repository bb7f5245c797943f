create or replace transient table FLOE.build.dim_return_reasons
  (
    reason_sk bigint not null,
    reason_id varchar not null,
    reason_description varchar
    )
    as (
    select reason_sk, reason_id, reason_description
    from (
        with
reasons as (
    select * from FLOE.staging.stg_accounting__return_reasons
),
final as (
    select
        reason_sk,
        reason_id,
        reason_description
    from reasons
    union all
    select
        -1 as reason_sk,
        'UNKNOWN' as reason_id,
        'Unknown reason' as reason_description
)
select * from final
    ) as model_subq
    );
