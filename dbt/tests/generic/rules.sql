{#
    Fails for every row that breaks one of the `rules` (a mapping from the rule's name to a condition),
    naming the rules it breaks. A condition that is null because a value is unknown is not broken.
#}
{% test rules(model, rules) %}
    with

    checked as (

        select
            {% for name, condition in rules.items() -%}
            case when not ({{ condition }}) then '{{ name }} ' else '' end {{ '||' if not loop.last else 'as broken_rules,' }}
            {% endfor -%}
            tested.*
        from {{ model }} as tested

    )

    select * from checked where broken_rules <> ''
{% endtest %}
