{#
    Hook before a snapshot: undo deletes that never were.

    A row that is in the source again with a change time before its supposed delete was never deleted; it
    had only not been read. dbt would add it a second time, before the delete. Here the record of the
    delete goes and the version before it is open again. Writes nothing when there is no such row.

    Args:
        source: relation the snapshot is taken from.
        key: its unique key.
#}
{% macro revive_wrongly_deleted(source, key) -%}
    {%- if execute and load_cached_relation(this) is not none -%}
        {%- set columns = config.get('snapshot_table_column_names') or get_snapshot_table_column_names() -%}
        {%- set open_end = config.get('dbt_valid_to_current') -%}
        {%- set wrongly_deleted -%}
            select tombstone.{{ key }}
            from {{ this }} as tombstone
            inner join {{ source }} as source_row on tombstone.{{ key }} = source_row.{{ key }}
            where
                tombstone.{{ columns.dbt_is_deleted }} = 'True'
                and tombstone.{{ columns.dbt_valid_to }} = {{ open_end }}
                and source_row.{{ config.get('updated_at') }} <= tombstone.{{ columns.dbt_valid_from }}
        {%- endset -%}
        {%- set keys = run_query(wrongly_deleted).columns[0].values() | list -%}
        {%- if keys -%}
        delete from {{ this }}
        where
            {{ key }} in ({{ keys | join(', ') }})
            and {{ columns.dbt_is_deleted }} = 'True'
            and {{ columns.dbt_valid_to }} = {{ open_end }};
        update {{ this }} set {{ columns.dbt_valid_to }} = {{ open_end }}
        where
            {{ key }} in ({{ keys | join(', ') }})
            and ({{ key }}, {{ columns.dbt_valid_to }}) in (
                select {{ key }}, max({{ columns.dbt_valid_to }}) from {{ this }} group by {{ key }}
            )
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
