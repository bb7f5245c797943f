{#
    dbt-duckdb builds a view or table under another name, renames the old one away and the new one into
    place and drops the old one, in two transactions. DuckLake can replace in one, which is faster and
    never leaves a `__dbt_backup` behind. Readers see the old or the new relation.
#}
{% materialization view, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='view') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% do floe.drop_if_of_another_type(target_relation) %}
    {% call statement('main') -%}
        create or replace view {{ target_relation }} as (
            {{ compiled_code }}
        )
    {%- endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{% materialization table, adapter='duckdb' %}
    {%- set target_relation = this.incorporate(type='table') -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {% do floe.drop_if_of_another_type(target_relation) %}
    {% call statement('main') -%}
        {{ floe.create_or_replace_table(target_relation, compiled_code) }}
    {%- endcall %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{% macro drop_if_of_another_type(relation) %}
    {%- set existing = load_cached_relation(relation) -%}
    {% if existing is not none and existing.type != relation.type %}
        {% do adapter.drop_relation(existing) %}
    {% endif %}
{% endmacro %}


{# Two statements of one transaction when a contract gives the columns, else one. #}
{% macro create_or_replace_table(relation, sql) %}
    {%- if config.get('contract').enforced -%}
        {{ get_assert_columns_equivalent(sql) }}
        create or replace table {{ relation }} {{ get_table_columns_and_constraints() }};
        insert into {{ relation }} {{ get_column_names() }} (
            {{ get_select_subquery(sql) }}
        )
    {%- else -%}
        create or replace table {{ relation }} as (
            {{ sql }}
        )
    {%- endif -%}
{% endmacro %}


{#
    dbt-duckdb looks through a whole table for the rows to replace. A model whose `meta` names a column of
    its key as `replaced_within` has them looked for only where that is one of the new rows' own, which
    leaves out the files without them. It is of the type date, and the key a list.
#}
{% macro duckdb__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
    {%- set predicates, date = incremental_predicates or [], (config.get('meta') or {}).get('replaced_within') -%}
    {%- if date -%}
        {%- set new = listed_dates('select distinct ' ~ date ~ ' from ' ~ source) -%}
        {%- set predicates = predicates + [is_among('DBT_INCREMENTAL_TARGET.' ~ date, new)] -%}
    {%- endif -%}
    {{ dbt.duckdb__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, predicates) }}
{%- endmacro %}
