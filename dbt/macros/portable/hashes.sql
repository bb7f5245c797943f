{#
    Hashes that say whether content differs. Only ever compared within one warehouse: DuckDB and
    Snowflake hash differently. Equal values must have equal types on both sides.
#}

{# Hash of the columns of one row. #}
{% macro row_hash(columns) -%}
    hash({{ columns | join(', ') }})
{%- endmacro %}


{# Hash of the columns of all rows of a group, whatever their order. #}
{% macro group_hash(columns) -%}
    {{ adapter.dispatch('group_hash')(columns) }}
{%- endmacro %}

{% macro duckdb__group_hash(columns) -%}
    sum(cast(hash({{ columns | join(', ') }}) as hugeint))
{%- endmacro %}

{% macro snowflake__group_hash(columns) -%}
    hash_agg({{ columns | join(', ') }})
{%- endmacro %}


{# Hash of every column of a model's contract, for the model that is being built. #}
{% macro contract_hash(alias) -%}
    {%- set columns = [] -%}
    {%- for name in model.columns -%}
        {%- do columns.append(alias ~ '.' ~ name) -%}
    {%- endfor -%}
    {{ floe.row_hash(columns) }}
{%- endmacro %}
