{#
    Fails for every value of a foreign key that the referenced table does not have. `foreign_keys` is a
    list of {column, to, field}; one query checks them all. A null refers to nothing and passes.
    `where_changed` is as in `unique_grain`: empty, too, when the referenced table may have lost a row.
#}
{% test references(model, foreign_keys, where_changed=none) %}
    {% for foreign_key in foreign_keys %}
    select
        '{{ foreign_key.column }}' as foreign_key,
        cast(child.{{ foreign_key.column }} as varchar) as missing_value,
        count(*) as row_count
    from {{ model }} as child
    left join {{ foreign_key.to }} as parent on child.{{ foreign_key.column }} = parent.{{ foreign_key.field }}
    where child.{{ foreign_key.column }} is not null and parent.{{ foreign_key.field }} is null
    {% if where_changed %}
        and {{ is_among('child.' ~ where_changed.by, where_changed.among) }}
    {% endif %}
    group by 1, 2
    {{ 'union all' if not loop.last }}
    {% endfor %}
{% endtest %}
