{#
    dbt dates a deleted row by the clock of the machine. No source says when a row was deleted, but the
    source's own clock is nearer than ours: a delete is dated just after the latest change that is known,
    in the source or in the history, so that validity never depends on when dbt ran.
#}
{% macro duckdb__snapshot_get_time() -%}
    {{ floe.just_after_latest_change() }}
{%- endmacro %}

{% macro snowflake__snapshot_get_time() -%}
    {{ floe.just_after_latest_change() }}
{%- endmacro %}

{% macro just_after_latest_change() -%}
    {%- set columns = config.get('snapshot_table_column_names') or get_snapshot_table_column_names() -%}
    {%- set change = 'max(' ~ config.get('updated_at') ~ ')' -%}
    (
        select {{ just_after('max(changed_at)') }}
        from (
            select {{ change }} as changed_at from ({{ model['compiled_code'] }}) as source_rows
            {%- if load_cached_relation(this) is not none %}
            union all
            select max({{ columns.dbt_valid_from }}) as changed_at from {{ this }}
            {%- endif %}
        ) as changes
    )
{%- endmacro %}
