{# Query for the rows of each of `relations` per day on which they were read, by the relation's name. #}
{% macro loads_by_day(relations) -%}
    {% for relation in relations -%}
    select
        '{{ relation.identifier }}' as table_name,
        cast(loaded_at as date) as loaded_on,
        count(*) as row_count
    from {{ relation }}
    group by 2
    {{ 'union all' if not loop.last }}
    {% endfor %}
{%- endmacro %}
