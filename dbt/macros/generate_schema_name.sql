{#
    Schemas are named as in the design: staging, snapshots, intermediate, build. A developer sets
    FLOE_DBT_SCHEMA_PREFIX and works in schemas of their own (`ada_build`); sources are shared.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set schema = (custom_schema_name or target.schema) | trim -%}
    {%- set prefix = env_var('FLOE_DBT_SCHEMA_PREFIX', '') | trim -%}
    {{ prefix ~ '_' ~ schema if prefix else schema }}
{%- endmacro %}
