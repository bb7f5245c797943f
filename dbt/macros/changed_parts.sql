{#
    Queries for the parts of marts in which something may differ from what was published; empty when that
    may be anywhere (`changed_values`).
#}

{#
    Weeks of days that have other counts of stock. A test gives `ref`s as arguments, since dbt does not see
    those in the macros that a test's arguments call.
#}
{% macro weeks_of_changed_stock(
    stock=ref('stg_inventory_files__inventory'), dates=ref('int_dates_assigned_to_weeks')
) -%}
    {%- do return(floe.weeks_of(changed_values(stock, 'inv_date_sk'), dates)) -%}
{%- endmacro %}


{# Weeks whose stock was written anew, or which may have come with another calendar. #}
{% macro weeks_of_restated_stock() -%}
    {%- set is_same_calendar = is_unchanged(ref('int_dates_assigned_to_weeks'), 'd_date_sk') -%}
    {%- set weeks = changed_values(ref('fct_inventory_weekly'), 'week_start_date') -%}
    {%- do return(weeks if is_same_calendar else '') -%}
{%- endmacro %}


{# Weeks of days on which other amounts were sold, of an item from a warehouse. #}
{% macro weeks_of_changed_sales() -%}
    {%- set sold = ['sold_date_sk', 'warehouse_sk', 'item_sk', 'quantity', 'gross_sales_amount'] -%}
    {%- do return(floe.weeks_of(
        changed_values(ref('fct_sales'), 'sold_date_sk', sold), ref('int_dates_assigned_to_weeks')
    )) -%}
{%- endmacro %}


{# Weeks that the model has with other days observed: the first or the last sale of all is on another day. #}
{% macro weeks_observed_otherwise() -%}
    {%- do return(
        'select existing.week_start_date from (select distinct week_start_date, days_observed from ' ~ this
        ~ ') as existing inner join ' ~ ref('int_weeks_observed') ~ ' as weeks'
        ~ ' on existing.week_start_date = weeks.week_start_date'
        ~ ' where existing.days_observed <> weeks.days_observed'
    ) -%}
{%- endmacro %}


{# Orders with other lines or returns, or whose customer has another history. #}
{% macro changed_orders() -%}
    {%- set sales = ref('int_sales_unioned') -%}
    {%- set customers = changed_values(ref('snp_customers'), 'customer_sk') -%}
    {%- set days_are_the_same = is_unchanged(ref('stg_erp__dates'), 'd_date_sk') -%}
    {%- set times_are_the_same = is_unchanged(ref('stg_erp__times'), 't_time_sk') -%}
    {%- set orders = any_of([
        changed_values(ref('stg_erp__catalog_sales'), 'cs_order_number'),
        changed_values(ref('stg_erp__web_sales'), 'ws_order_number'),
        changed_values(ref('stg_accounting__catalog_returns'), 'cr_order_number'),
        changed_values(ref('stg_accounting__web_returns'), 'wr_order_number'),
    ]) -%}
    {%- if not (customers and orders and days_are_the_same and times_are_the_same) -%}
        {%- do return('') -%}
    {%- endif -%}
    {%- do return(
        'select order_number from (' ~ orders ~ ') as orders (order_number)'
        ~ ' union select order_number from ' ~ sales ~ ' where billing_customer_sk in (' ~ customers ~ ')'
    ) -%}
{%- endmacro %}


{# Weeks of the query `days`, as long as the calendar is the same. #}
{% macro weeks_of(days, dates) -%}
    {%- if not (days and is_unchanged(dates, 'd_date_sk')) -%}
        {%- do return('') -%}
    {%- endif -%}
    {%- do return('select distinct week_start_date from ' ~ dates ~ ' where date_sk in (' ~ days ~ ')') -%}
{%- endmacro %}
