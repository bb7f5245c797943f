{#
    The snapshot as an earlier run left it, or none before the first. Not a `ref`: a test that must run
    before the snapshot compares its input with it.
#}
{% macro existing_snapshot(name) -%}
    {%- if execute -%}
        {% do return(adapter.get_relation(
            database=target.database, schema=generate_schema_name('snapshots', none), identifier=name
        )) %}
    {%- endif -%}
{%- endmacro %}
