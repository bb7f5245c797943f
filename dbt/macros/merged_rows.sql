{#
    A raw table with its repairs merged in: the rows as the source has them, one per key.

    The repair table has the raw table's columns (some may be missing), and
      - `_floe_repair_action` ('upsert' or 'delete') and `_floe_repaired_at` (timestamp with time zone);
      - `_floe_replaces`, the `_airbyte_raw_id` of the raw row that the repair was made for, null when
        there was none; the column may be missing.
    It may hold several repairs of one key. Per key the latest one counts, and is there instead of the raw
    row, unless raw was written since: the raw row is another one than the repair was made for, and
      - its cursor is newer; on equal cursors, or without one, it was extracted after the repair.
    So a row that the source changes after its repair wins by itself, an old repair can stay, and a repair
    wins even where the source's cursor went back or became null. A key that is a 'delete' is not there.

    Plain Jinja without dbt, because `blocks/merged_rows.py` compares exactly these rows with the source.

    Args:
        raw, repairs: relations.
        columns: the raw table's columns, quoted.
        known: those of them that the repair table has, quoted.
        key: the columns that identify a row, quoted.
        cursor: column with the row's change time, quoted; none when there is none.
        has_replaces: whether the repair table has `_floe_replaces`.

    Returns a query.
#}
{% macro merged_rows(raw, repairs, columns, known, key, cursor, has_replaces) -%}
    with

    latest_repairs as (

        select * from {{ repairs }}
        qualify row_number() over (
            partition by {{ key | join(', ') }}
            order by _floe_repaired_at desc{{ ', ' ~ cursor ~ ' desc nulls last' if cursor else '' }}
        ) = 1

    ),

    judged_repairs as (

        select
            repair.*,
            case
                when replicated.{{ key[0] }} is null then 0
                {% if has_replaces -%}
                when repair._floe_replaces = replicated._airbyte_raw_id then 0
                {% endif -%}
                {% if cursor -%}
                when replicated.{{ cursor }} > repair.{{ cursor }} then 1
                when replicated.{{ cursor }} < repair.{{ cursor }} then 0
                when replicated.{{ cursor }} is null and repair.{{ cursor }} is not null then 0
                when replicated.{{ cursor }} is not null and repair.{{ cursor }} is null then 1
                {% endif -%}
                when replicated._airbyte_extracted_at > repair._floe_repaired_at then 1
                else 0
            end as raw_wins
        from latest_repairs as repair
        left join {{ raw }} as replicated
            on {% for column in key %}repair.{{ column }} = replicated.{{ column }}
            {{- ' and ' if not loop.last }}{% endfor %}

    )

    select
        {% for column in columns -%}
        replicated.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from {{ raw }} as replicated
    where not exists (
        select 1 from judged_repairs as repair
        where repair.raw_wins = 0
            {% for column in key %}and repair.{{ column }} = replicated.{{ column }} {% endfor %}
    )
    union all
    select
        {% for column in columns -%}
        {% if column not in known -%}
        null
        {%- elif column | lower == '"_airbyte_extracted_at"' -%}
        coalesce(repair.{{ column }}, repair._floe_repaired_at)
        {%- else -%}
        repair.{{ column }}
        {%- endif %} as {{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from judged_repairs as repair
    where repair.raw_wins = 0 and repair._floe_repair_action <> 'delete'
{%- endmacro %}
