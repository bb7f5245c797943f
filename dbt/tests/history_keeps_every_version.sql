-- What the snapshot has recorded is all there for readers, and nothing else but the unknown members.
with

recorded as (

    select
        'customer' as kind,
        customer_sk as version_of,
        dbt_valid_to as valid_to
    from {{ ref('snp_customers') }}
    union all
    select
        'promotion' as kind,
        promotion_sk as version_of,
        dbt_valid_to as valid_to
    from {{ ref('snp_promotions') }}

),

shown as (

    select
        'customer' as kind,
        customer_sk as version_of,
        valid_to
    from {{ ref('dim_customers_history') }}
    union all
    select
        'promotion' as kind,
        promotion_sk as version_of,
        valid_to
    from {{ ref('dim_promotions_history') }}

),

known as (

    select * from shown
    where version_of <> -1

),

only_recorded as (

    select * from recorded
    except
    select * from known

),

only_shown as (

    select * from known
    except
    select * from recorded

),

final as (

    select * from only_recorded
    union all
    select * from only_shown

)

select * from final
