{#
    Fails for every version of `key` that is empty, leaves a gap to the next one or overlaps it, and for
    every key without exactly one version that is open (`valid_to` 9999-12-31). Validity is half open.
#}
{% test continuous_history(model, key, valid_from='valid_from', valid_to='valid_to') %}
    with

    versions as (

        select
            {{ key }} as version_of,
            {{ valid_from }} as valid_from,
            {{ valid_to }} as valid_to,
            lead({{ valid_from }}) over (partition by {{ key }} order by {{ valid_from }}, {{ valid_to }}) as next_from
        from {{ model }}

    )

    select *
    from versions
    where
        valid_from is null
        or valid_to is null
        or valid_from >= valid_to
        or (next_from is null and valid_to <> cast('9999-12-31' as date))
        or (next_from is not null and valid_to <> next_from)
{% endtest %}
