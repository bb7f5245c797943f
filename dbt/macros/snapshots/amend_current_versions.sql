{#
    Hook of a snapshot: bring current versions in line with the source where a tracked column differs
    although the change time is not later.

    That happens when a part of the row arrives late (the address changed before the customer did, but was
    read after), when a repair corrects it, or when the change time of the source goes back, since the row
    that had it is gone. The version was wrong from its start, so it is corrected, not closed: no new
    version, no other validity.

    Stands after a snapshot with the strategy `timestamp`, which does not see such rows, and before one
    with the strategy `check`, which would open a version that is as old as the one before.

    Args:
        source: relation the snapshot is taken from.
        key: its unique key.
#}
{% macro amend_current_versions(source, key) -%}
    {%- if execute and load_cached_relation(this) is not none -%}
        {%- set columns = config.get('snapshot_table_column_names') or get_snapshot_table_column_names() -%}
        {%- set change_time = config.get('updated_at') -%}
        {%- set tracked = tracked_columns(source).split(', ') | reject('equalto', key) | list -%}
        {%- set version = this.identifier -%}
        update {{ this }}
        set
            {% for column in tracked -%}
            {{ column }} = source_row.{{ column }}{{ ',' if not loop.last }}
            {% endfor %}
        from {{ source }} as source_row
        where
            {{ version }}.{{ key }} = source_row.{{ key }}
            and {{ version }}.{{ columns.dbt_updated_at }} >= source_row.{{ change_time }}
            and {{ version }}.{{ columns.dbt_valid_to }} = {{ config.get('dbt_valid_to_current') }}
            and {{ version }}.{{ columns.dbt_is_deleted }} = 'False'
            and (
                {% for column in tracked -%}
                {{ version }}.{{ column }} is distinct from source_row.{{ column }}{{ ' or' if not loop.last }}
                {% endfor %}
            )
    {%- endif -%}
{%- endmacro %}
