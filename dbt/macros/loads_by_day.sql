{#
    Query for the rows of each of `relations` per day on which they were read, by the relation's name.
    Many rows were read at the same instant, so that few of them have to be turned into days.
#}
{% macro loads_by_day(relations) -%}
    {% for relation in relations -%}
    select
        '{{ relation.identifier }}' as table_name,
        cast(loaded_at as date) as loaded_on,
        cast(sum(row_count) as bigint) as row_count
    from (
        select
            loaded_at,
            count(*) as row_count
        from {{ relation }}
        group by 1
    ) as loads_of_{{ relation.identifier }}
    group by 2
    {{ 'union all' if not loop.last }}
    {% endfor %}
{%- endmacro %}
