{# The columns of what a snapshot is taken from, but for its change time, for a select; empty while parsing. #}
{% macro tracked_columns(relation) -%}
    {%- if execute -%}
        {#- Snowflake gives the names in upper case. -#}
        {%- do return(
            adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower')
            | reject('equalto', 'updated_at') | join(', ')
        ) -%}
    {%- endif -%}
    {%- do return('') -%}
{%- endmacro %}
