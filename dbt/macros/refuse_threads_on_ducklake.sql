{#
    Two threads of one process that create relations at the same time can write a wrong schema id into
    DuckLake's catalog (duckdb 1.5.5): a view lands in another schema, or the whole lake cannot be read
    any more. Other processes are no danger. `--threads` beats the profile, hence this check.
#}
{% macro refuse_threads_on_ducklake() -%}
    {%- if execute and target.type == 'duckdb' and target.threads | int > 1 -%}
        {% do exceptions.raise_compiler_error(
            'dbt was started with ' ~ target.threads ~ ' threads, which can destroy the catalog of a DuckLake. '
            ~ 'Nothing was built. Run it again with --threads 1.'
        ) %}
    {%- endif -%}
{%- endmacro %}
