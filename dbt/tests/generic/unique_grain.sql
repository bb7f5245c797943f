{#
    Fails for every combination of `columns` that occurs more than once or has a null in it.

    Args:
        columns: that identify a row.
        where_several: of all rows only those are tested whose value of the column `by` comes with several
            values of the column `of`, or is null.
#}
{% test unique_grain(model, columns, where_several=none) %}
    select
        {{ columns | join(', ') }},
        count(*) as row_count
    from {{ model }}
    {% if where_several -%}
    where
        {{ where_several.by }} is null
        or {{ where_several.by }} in (
            select {{ where_several.by }}
            from {{ model }}
            group by 1
            having min({{ where_several.of }}) <> max({{ where_several.of }})
        )
    {% endif -%}
    group by {{ range(1, columns | length + 1) | join(', ') }}
    having
        count(*) > 1
        {% for column in columns %} or {{ column }} is null{% endfor %}
{% endtest %}
