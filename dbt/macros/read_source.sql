{#
    The one place where a source table is read: its raw rows, with Floe's repairs merged in.

    Cursor-based replication misses rows that were committed late and never sees a delete. The flow
    `reconcile` writes such rows to `__floe_repairs_<table>` in the schema of the raw table, which may not
    exist at all. How the two are merged stands in `merged_rows`.

    Args:
        source_name, table_name: as in `source()`.
        key: list of the columns that identify a row; the stream's primary key.
        cursor: column with the row's change time; the stream's cursor, none when it has none.

    Returns a relation, or a subquery when there are repairs.
#}
{% macro read_source(source_name, table_name, key, cursor=none) -%}
    {%- set raw = source(source_name, table_name) -%}
    {%- set repairs = floe.repairs_of(raw) if execute else none -%}
    {%- if repairs is none -%}
        {{ raw }}
    {%- else -%}
        {%- set columns = floe.quoted_columns(raw) -%}
        {%- set repair_columns = floe.quoted_columns(repairs) -%}
        {%- set keys = [] -%}
        {%- for name in key -%}
            {%- do keys.append(columns[name | lower]) -%}
        {%- endfor -%}
        (
        {{ merged_rows(
            raw,
            repairs,
            columns.values() | list,
            repair_columns.values() | list,
            keys,
            columns[cursor | lower] if cursor else none,
            '_floe_replaces' in repair_columns
        ) }}
        ) as merged
    {%- endif -%}
{%- endmacro %}


{# The columns of a relation, quoted as they are spelled, by their names in lower case. #}
{% macro quoted_columns(relation) -%}
    {%- set columns = {} -%}
    {%- for column in adapter.get_columns_in_relation(relation) -%}
        {%- do columns.update({column.name | lower: adapter.quote(column.name)}) -%}
    {%- endfor -%}
    {%- do return(columns) -%}
{%- endmacro %}


{# The repairs of a raw table, or none when none were ever needed. #}
{% macro repairs_of(raw) -%}
    {% do return(adapter.get_relation(
        database=raw.database, schema=raw.schema, identifier='__floe_repairs_' ~ raw.identifier
    )) %}
{%- endmacro %}
