{#
    The one place where a source table is read: its raw rows, with Floe's repairs merged in.

    Cursor-based replication misses rows that were committed late and never sees a delete. Such rows
    are written to `__floe_repairs_<table>` in the schema of the raw table. That table
      - has the raw table's columns, and `_floe_repair_action` ('upsert' or 'delete') and
        `_floe_repaired_at` (timestamp with time zone);
      - may hold several repairs of one key, and may not exist at all.
    Per key one row counts: the one with the newest cursor. On equal cursors a repair wins over the raw
    row, and a later repair over an earlier one. So a row that the source changes after its repair wins
    by itself, and an old repair can stay. A key whose row is a 'delete' is not there. Without a cursor
    the time of reading (`_airbyte_extracted_at`, `_floe_repaired_at`) takes its place.

    Args:
        source_name, table_name: as in `source()`.
        key: list of the columns that identify a row.
        cursor: column with the row's change time, null in none of the rows; none when there is none.

    Returns a relation, or a subquery when there are repairs.
#}
{% macro read_source(source_name, table_name, key, cursor=none) -%}
    {%- set raw = source(source_name, table_name) -%}
    {%- set repairs = floe.repairs_of(raw) if execute else none -%}
    {%- if repairs is none -%}
        {{ raw }}
    {%- else -%}
        {%- set columns = adapter.get_columns_in_relation(raw) | map(attribute='name') | list -%}
        (
        with

        candidates as (

            select
                {{ columns | join(', ') }},
                cast(null as timestamp) as repaired_at,
                'raw' as repair_action
            from {{ raw }}
            union all
            select
                {% for column in columns -%}
                {%- if column | lower == '_airbyte_extracted_at' -%}
                coalesce({{ column }}, _floe_repaired_at) as {{ column }}
                {%- else -%}
                {{ column }}
                {%- endif -%},
                {% endfor -%}
                {{ utc_timestamp('_floe_repaired_at') }},
                _floe_repair_action
            from {{ repairs }}

        ),

        newest as (

            select * from candidates
            qualify row_number() over (
                partition by {{ key | join(', ') }}
                order by
                    {{ cursor or 'coalesce(repaired_at, ' ~ utc_timestamp('_airbyte_extracted_at') ~ ')' }} desc nulls last,
                    case when repair_action = 'raw' then 1 else 0 end,
                    repaired_at desc nulls last
            ) = 1

        )

        select {{ columns | join(', ') }} from newest where repair_action <> 'delete'
        ) as merged
    {%- endif -%}
{%- endmacro %}


{# The repairs of a raw table, or none when none were ever needed. #}
{% macro repairs_of(raw) -%}
    {% do return(adapter.get_relation(
        database=raw.database, schema=raw.schema, identifier='__floe_repairs_' ~ raw.identifier
    )) %}
{%- endmacro %}
