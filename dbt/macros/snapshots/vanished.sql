{#
    Query for a test that runs before a snapshot: a row when more of its current keys are gone from what it is
    taken from than the variable `largest_share_deleted` allows. An empty or half-loaded source must not enter
    the history as deletes.

    Args:
        tracked: relation the snapshot is taken from.
        snapshot: name of the snapshot; before its first run nothing can have vanished.
        key: its unique key.
        handful: so many keys may go at once whatever their share, unless they are all.
#}
{% macro vanished(tracked, snapshot, key, handful=0) -%}
    {%- set history = existing_snapshot(snapshot) -%}
    select *
    from (
        select
            count(*) as known_count,
            count(tracked.{{ key }}) as remaining_count
        from {{ history or tracked }} as known
        left join {{ tracked }} as tracked on known.{{ key }} = tracked.{{ key }}
        {% if history -%}
            where known.dbt_valid_to = cast('9999-12-31' as timestamp) and known.dbt_is_deleted = 'False'
        {%- endif %}
    ) as counted
    where
        known_count - remaining_count > {{ var('largest_share_deleted') }} * known_count
        and (remaining_count = 0 or known_count - remaining_count > {{ handful }})
{%- endmacro %}
