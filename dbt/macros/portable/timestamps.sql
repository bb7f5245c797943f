{# A timestamp with time zone as the same instant in UTC, without time zone. #}
{% macro utc_timestamp(expression) -%}
    {{ adapter.dispatch('utc_timestamp')(expression) }}
{%- endmacro %}

{# `timezone` asks the time zone library for each row, 30 times as dear; but it alone takes an infinity. #}
{% macro duckdb__utc_timestamp(expression) -%}
    case
        when isfinite({{ expression }}) then make_timestamp(epoch_us({{ expression }}))
        else timezone('UTC', {{ expression }})
    end
{%- endmacro %}

{% macro snowflake__utc_timestamp(expression) -%}
    cast(convert_timezone('UTC', {{ expression }}) as timestamp_ntz)
{%- endmacro %}


{# A date and a number of seconds since its midnight as a timestamp. #}
{% macro timestamp_of(date, seconds) -%}
    {{ adapter.dispatch('timestamp_of')(date, seconds) }}
{%- endmacro %}

{% macro duckdb__timestamp_of(date, seconds) -%}
    cast({{ date }} as timestamp) + to_seconds({{ seconds }})
{%- endmacro %}

{% macro snowflake__timestamp_of(date, seconds) -%}
    dateadd(second, {{ seconds }}, cast({{ date }} as timestamp_ntz))
{%- endmacro %}


{# The instant one microsecond after a timestamp. #}
{% macro just_after(expression) -%}
    {{ adapter.dispatch('just_after')(expression) }}
{%- endmacro %}

{% macro duckdb__just_after(expression) -%}
    {{ expression }} + interval 1 microsecond
{%- endmacro %}

{% macro snowflake__just_after(expression) -%}
    dateadd(microsecond, 1, {{ expression }})
{%- endmacro %}


{# The date some days after (or, when negative, before) a date, as a date. #}
{% macro add_days(date, days) -%}
    {{ adapter.dispatch('add_days')(date, days) }}
{%- endmacro %}

{% macro duckdb__add_days(date, days) -%}
    {{ date }} + cast({{ days }} as integer)
{%- endmacro %}

{% macro snowflake__add_days(date, days) -%}
    cast(dateadd(day, {{ days }}, {{ date }}) as date)
{%- endmacro %}
