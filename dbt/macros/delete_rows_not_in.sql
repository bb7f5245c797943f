{#
    Hook of an incremental model: take out the rows whose key none of its inputs has any more, because
    the source deleted them. Keys are never null on either side.
#}
{% macro delete_rows_not_in(relations, key) -%}
    {%- if is_incremental() -%}
    delete from {{ this }}
    where {{ key }} not in (
        {% for relation in relations -%}
        select {{ key }} from {{ relation }}{{ ' union ' if not loop.last }}
        {% endfor %}
    )
    {%- endif -%}
{%- endmacro %}
