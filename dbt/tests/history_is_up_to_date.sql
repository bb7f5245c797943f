-- The current versions are the rows that the source has now, also where a change was read late.
{% set snapshots = [
    (ref('int_customers_tracked'), ref('snp_customers'), 'customer_sk'),
    (ref('int_promotions_tracked'), ref('snp_promotions'), 'promotion_sk'),
] %}

{% for tracked, snapshot, key in snapshots %}
    select
        '{{ key }}' as version_of,
        differing.{{ key }} as key_value
    from (
        select {{ tracked_columns(tracked) }} from {{ tracked }}
        except
        select {{ tracked_columns(tracked) }}
        from {{ snapshot }}
        where dbt_valid_to = cast('9999-12-31' as timestamp) and dbt_is_deleted = 'False'
    ) as differing
    {{ 'union all' if not loop.last }}
{% endfor %}
