{#
    dbt stores the rows of every test, also of those that pass: a table written per test and run. Here only
    a test that fails or warns leaves a table, with the first thousand rows, in the schema `test_failures`;
    it is dropped when the test passes again.
#}
{% materialization test, default %}
    {%- set tested_sql = get_limit_subquery_sql(sql, config.get('limit')) -%}

    {% call statement('main', fetch_result=True) -%}
        {{ get_test_sql(
            tested_sql, config.get('fail_calc'), config.get('warn_if'), config.get('error_if'), limit=none
        ) }}
    {%- endcall %}

    {%- set relations = [] -%}
    {% if should_store_failures() %}
        {%- set failures = api.Relation.create(
            identifier=model['alias'], schema=schema, database=database, type='table'
        ) -%}
        {%- set earlier = adapter.get_relation(database=database, schema=schema, identifier=model['alias']) -%}
        {% if earlier %}
            {% do adapter.drop_relation(earlier) %}
        {% endif %}
        {% if load_result('main')['table'].columns[0].values()[0] %}
            {% call statement('store', auto_begin=True) -%}
                {{ get_create_sql(failures, get_limit_subquery_sql(tested_sql, 1000)) }}
            {%- endcall %}
            {% do relations.append(failures) %}
        {% endif %}
        {% if earlier or relations %}
            {{ adapter.commit() }}
        {% endif %}
    {% endif %}

    {{ return({'relations': relations}) }}
{% endmaterialization %}
