-- An empty or half-loaded source must not enter the history as a delete of most promotions: fails when
-- more of the current promotions are gone at once than the variable allows; of a handful, all of them.
{% set history = existing_snapshot('snp_promotions') %}

with

tracked as (

    select * from {{ ref('int_promotions_tracked') }}

),

{% if history %}
    known as (

        select * from {{ history }}
        where dbt_valid_to = cast('9999-12-31' as timestamp) and dbt_is_deleted = 'False'

    ),
{% else %}
    known as (

        select * from tracked

    ),
{% endif %}

final as (

    select
        count(*) as known_count,
        count(tracked.promotion_sk) as remaining_count
    from known
    left join tracked on known.promotion_sk = tracked.promotion_sk

)

select * from final
where
    known_count - remaining_count > {{ var('largest_share_deleted') }} * known_count
    and (remaining_count = 0 or known_count - remaining_count > 5)
