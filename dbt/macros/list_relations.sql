{#
    What a schema holds, as dbt-duckdb lists it, but not from `information_schema.tables`: for that DuckDB
    counts the rows of every table of the lake, once for each schema that dbt asks about.
#}
{% macro duckdb__list_relations_without_caching(schema_relation) %}
    {%- call statement('list_relations_without_caching', fetch_result=True) -%}
        with

        views as (

            select view_name as name, schema_name as schema, 'view' as type
            from duckdb_views()
            where
                lower(database_name) = '{{ schema_relation.database | lower }}'
                and lower(schema_name) = '{{ schema_relation.schema | lower }}'

        ),

        tables as (

            select distinct table_name as name, schema_name as schema, 'table' as type
            from duckdb_columns()
            where
                lower(database_name) = '{{ schema_relation.database | lower }}'
                and lower(schema_name) = '{{ schema_relation.schema | lower }}'
                and table_name not in (select name from views)

        )

        select '{{ schema_relation.database }}' as database, name, schema, type from tables
        union all
        select '{{ schema_relation.database }}' as database, name, schema, type from views
    {%- endcall -%}
    {{ return(load_result('list_relations_without_caching').table) }}
{% endmacro %}
