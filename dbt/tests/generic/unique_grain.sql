{# Fails for every combination of `columns` that occurs more than once or has a null in it. #}
{% test unique_grain(model, columns) %}
    select
        {{ columns | join(', ') }},
        count(*) as row_count
    from {{ model }}
    group by {{ range(1, columns | length + 1) | join(', ') }}
    having
        count(*) > 1
        {% for column in columns %} or {{ column }} is null{% endfor %}
{% endtest %}
