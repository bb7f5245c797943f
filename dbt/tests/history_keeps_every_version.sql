-- What the snapshot has recorded is all there for readers, and nothing else but the unknown customer.
with

recorded as (

    select
        customer_sk,
        dbt_valid_to as valid_to
    from {{ ref('snp_customers') }}

),

shown as (

    select
        customer_sk,
        valid_to
    from {{ ref('dim_customers_history') }}
    where customer_sk <> -1

),

only_recorded as (

    select * from recorded
    except
    select * from shown

),

only_shown as (

    select * from shown
    except
    select * from recorded

),

final as (

    select * from only_recorded
    union all
    select * from only_shown

)

select * from final
