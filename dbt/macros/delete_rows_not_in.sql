{#
    Hook of an incremental model: take out the rows whose key none of its inputs has any more, because
    the source deleted them. Keys are never null on either side.

    Args:
        relations: the inputs.
        key: columns of the model and of its inputs, or the one column.
        by, parts: a column of them all, and a query for its values in whose rows keys may be missing; an
            empty query for all rows.
#}
{% macro delete_rows_not_in(relations, key, by=none, parts='') -%}
    {%- if is_incremental() -%}
    {%- set columns = key if key is string else key | join(', ') -%}
    delete from {{ this }}
    where {{ is_among(by, parts) }} and {{ columns if key is string else '(' ~ columns ~ ')' }} not in (
        {% for relation in relations -%}
        select {{ columns }} from {{ relation }} where {{ is_among(by, parts) }}{{ ' union ' if not loop.last }}
        {% endfor %}
    )
    {%- endif -%}
{%- endmacro %}
