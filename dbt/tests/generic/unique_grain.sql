{#
    Fails for every combination of `columns` that occurs more than once or has a null in it.

    Args:
        columns: that identify a row.
        where_several: of all rows only those are tested whose value of the column `by` comes with several
            values of the column `of`, or is null.
        where_changed: only rows are tested whose value of the column `by` is one of the query `among`, which
            is empty for all rows (`changed_values`), or is null. Not for a test that only warns: its next run
            would not see the rows again.
#}
{% test unique_grain(model, columns, where_several=none, where_changed=none) %}
    select
        {{ columns | join(', ') }},
        count(*) as row_count
    {% if where_changed and where_changed.among -%}
    from (
        select * from {{ model }} where {{ where_changed.by }} in ({{ where_changed.among }})
        union all
        select * from {{ model }} where {{ where_changed.by }} is null
    ) as changed
    {%- else -%}
    from {{ model }}
    {%- endif %}
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
