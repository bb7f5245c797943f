{#
    Which rows were written or deleted since the last publication, for models and tests that need not look
    at the others again. `transform` says since when (`blocks/changed_nodes.py`), unless any code is another
    than when the marts were published, or a table of the build is not as it was published; then, and where
    an engine cannot tell, every row counts as changed. What someone changes by hand in a table of the build
    while it is built is not seen.
#}

{#
    Query for the values that a column has, or had, in changed rows: of the table of a model, or of the one
    source table that a view shows. Empty when all rows count as changed.

    Args:
        relation: the table or view.
        column: of the table; of a view, of its source.
        among: columns of the table, that one with them; rows that differ in others only do not count.
#}
{% macro changed_values(relation, column, among=none) -%}
    {%- if execute -%}
        {%- do return(adapter.dispatch('changed_values')(relation, column, among)) -%}
    {%- endif -%}
    {%- do return('') -%}
{%- endmacro %}

{% macro default__changed_values(relation, column, among) -%}
    {%- do return('') -%}
{%- endmacro %}

{% macro duckdb__changed_values(relation, column, among) -%}
    {%- if not env_var('FLOE_DBT_BEGAN_WITH', '') -%}
        {%- do return('') -%}
    {%- endif -%}
    {%- set source = floe.source_of(relation) -%}
    {%- if source -%}
        {%- set repairs = source.incorporate(path={'identifier': '__floe_repairs_' ~ source.identifier}) -%}
        {%- set tables, since = [source, repairs], env_var('FLOE_DBT_BEGAN_WITH') -%}
    {%- else -%}
        {%- set tables, since = [relation], env_var('FLOE_DBT_PUBLISHED_VERSION') -%}
    {%- endif -%}
    {%- set queries = [] -%}
    {%- for table in tables -%}
        {%- if not floe.is_as_it_was(table, since) -%}
            {%- do return('') -%}
        {%- elif adapter.get_relation(table.database, table.schema, table.identifier) -%}
            {%- do queries.append(floe.values_of_feed(table, column, among, since)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(any_of(queries)) -%}
{%- endmacro %}


{#
    Query for the values of a column in the rows that a table of the lake has been given, or has lost, since
    a version. Files that were compacted may come again with rows that have not changed. Not for a table
    with writes that are not committed yet: of these DuckLake's feed may lack others (duckdb 1.5.5).

    Source: https://ducklake.select/docs/stable/duckdb/advanced_features/data_change_feed
#}
{% macro values_of_feed(table, column, among, since) -%}
    {%- set now = run_query('select id from ' ~ table.database ~ '.current_snapshot()').columns[0].values()[0] -%}
    {%- set feed = "ducklake_table_changes('" ~ table.database ~ "', '" ~ table.schema ~ "', '" ~ table.identifier
        ~ "', " ~ (since | int + 1) ~ ", " ~ now ~ ")" -%}
    {%- if among is none -%}
        {%- do return('select distinct ' ~ column ~ ' from ' ~ feed) -%}
    {%- endif -%}
    {%- set columns = among | join(', ') -%}
    {%- do return(
        'select distinct ' ~ column ~ ' from (select ' ~ columns ~ ' from ' ~ feed ~ ' group by ' ~ columns
        ~ " having sum(case when change_type in ('insert', 'update_postimage') then 1 else -1 end) <> 0) as changed"
    ) -%}
{%- endmacro %}


{# The table of the one source that a view shows, directly or through views; none for what is no view. #}
{% macro source_of(relation) -%}
    {%- for node in graph.nodes.values() -%}
        {%- if node.schema == relation.schema and node.alias == relation.identifier
            and node.config.materialized == 'view' -%}
            {%- do return(floe.relation_of_source(node)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do return(none) -%}
{%- endmacro %}

{% macro relation_of_source(node) -%}
    {%- if node.resource_type == 'source' -%}
        {%- do return(api.Relation.create(
            database=node.database, schema=node.schema, identifier=node.identifier
        )) -%}
    {%- endif -%}
    {%- set parents = node.depends_on.nodes -%}
    {%- if node.config.materialized != 'view' or parents | length != 1 -%}
        {%- do exceptions.raise_compiler_error(node.name ~ ' does not show the rows of one source') -%}
    {%- endif -%}
    {%- do return(floe.relation_of_source(graph.sources.get(parents[0]) or graph.nodes[parents[0]])) -%}
{%- endmacro %}


{#
    Whether a table of the lake is the one that it was in a version, with the same columns, or is not there
    and was not: only then do its changed rows tell all.
#}
{% macro is_as_it_was(table, version) -%}
    {%- set catalog = '__ducklake_metadata_' ~ table.database -%}
    {%- set later = run_query(
        "select count(*) from " ~ catalog ~ ".ducklake_table as t"
        ~ " inner join " ~ catalog ~ ".ducklake_schema as s on t.schema_id = s.schema_id"
        ~ " inner join " ~ catalog ~ ".ducklake_column as c on t.table_id = c.table_id"
        ~ " where s.schema_name = '" ~ table.schema ~ "' and t.table_name = '" ~ table.identifier ~ "'"
        ~ " and greatest(t.begin_snapshot, t.end_snapshot, c.begin_snapshot, c.end_snapshot) > " ~ version
    ) -%}
    {%- do return(later.columns[0].values()[0] == 0) -%}
{%- endmacro %}


{# Whether no row of a relation has changed; `column` is any of it. #}
{% macro is_unchanged(relation, column) -%}
    {%- set values = changed_values(relation, column) -%}
    {%- do return(values and not run_query(values ~ ' limit 1').rows) -%}
{%- endmacro %}


{# Condition that the value of a column is one of a query or list, or any, when that is empty. #}
{% macro is_among(column, values) -%}
    {{ column ~ ' in (' ~ values ~ ')' if values else 'true' }}
{%- endmacro %}


{# The dates that a query gives, written out, so that files without them need not be read; empty as it is. #}
{% macro listed_dates(query) -%}
    {%- if not query -%}
        {%- do return('') -%}
    {%- endif -%}
    {%- set dates = [] -%}
    {%- for date in run_query(query).columns[0].values() if date is not none -%}
        {%- do dates.append("cast('" ~ date ~ "' as date)") -%}
    {%- endfor -%}
    {%- do return(dates | join(', ') or 'null') -%}
{%- endmacro %}


{# Query for the values of any of `queries`; empty, for all values, when one of them is. #}
{% macro any_of(queries) -%}
    {%- do return('' if '' in queries else queries | join(' union ')) -%}
{%- endmacro %}
