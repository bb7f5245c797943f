from __future__ import annotations

import pytest

from blocks.dashboard_queries import Condition, models_in, ordering, problems_of, render, tags_in

SALES = "select 1 from {{ ref('fct_sales') }} where 1 = 1 [[and {{category}}]] [[and channel = {{channel}}]]"
CATEGORY = Condition("dim_items.category = 'Books'", "choices.category is null")
CHANNEL = Condition("'web'")


@pytest.mark.parametrize(
    ("query", "conditions", "expected"),
    [
        pytest.param(SALES, {}, "select 1 from marts.fct_sales where 1 = 1  ", id="nothing set"),
        pytest.param(
            SALES,
            {"channel": CHANNEL},
            "select 1 from marts.fct_sales where 1 = 1  and (false or (channel = 'web'))",
            id="one clause stays",
        ),
        pytest.param(
            SALES,
            {"category": CATEGORY, "channel": CHANNEL},
            "select 1 from marts.fct_sales where 1 = 1 "
            "and (choices.category is null or (dim_items.category = 'Books')) "
            "and (false or (channel = 'web'))",
            id="both stay",
        ),
        pytest.param(
            "select 1 where {{ category }};", {}, "select 1 where 1 = 1", id="bare field filter, not set"
        ),
        pytest.param(
            "select 1 where {{category}}",
            {"category": CATEGORY},
            "select 1 where (choices.category is null or dim_items.category = 'Books')",
            id="bare field filter, set",
        ),
        pytest.param(
            "select 1 [[and {{category}} or channel = {{channel}}]]",
            {"category": CATEGORY},
            "select 1 ",
            id="a clause needs all of its tags",
        ),
    ],
)
def test_template_tags_become_sql(query: str, conditions: dict[str, Condition], expected: str) -> None:
    assert render(query, conditions) == expected


def test_a_reference_names_the_mart_in_the_given_schema() -> None:
    assert render("select * from {{ref( 'dim_items' )}}", schema="other") == "select * from other.dim_items"


def test_references_and_tags_are_told_apart() -> None:
    assert models_in(SALES) == ("fct_sales",)
    assert tags_in(SALES) == ("category", "channel")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param("select a from b", None, id="none"),
        pytest.param("select a from b order by a desc nulls last, b", "a desc nulls last, b", id="terms"),
        pytest.param("select a from b order by a\nlimit 20\n", "a", id="limit is not order"),
        pytest.param("select sum(x) over (order by y) as a from b", None, id="a window's order"),
        pytest.param(
            "with c as (select 1 order by z limit 1) select * from c", None, id="an inner query's order"
        ),
        pytest.param(
            "select max(x) over (order by y) as a from (select 1 order by z) order by a", "a", id="the outer"
        ),
    ],
)
def test_the_order_is_that_of_the_outer_query(query: str, expected: str | None) -> None:
    assert ordering(query) == expected


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        pytest.param(
            "select 1 from marts.fct_sales",
            "the query reads no mart: name one as {{ ref('model') }}",
            id="schema",
        ),
        pytest.param(
            "select 1 from {{ ref('a') }} order by sum(b)",
            "order by must name plain columns of the answer, not expressions or numbers",
            id="order by an expression",
        ),
        pytest.param(
            "select 1 from {{ ref('a') }} order by 2",
            "order by must name plain columns of the answer, not expressions or numbers",
            id="order by a number",
        ),
        pytest.param(
            "select 1 from {{ ref('a') }} [[or {{x}}]]",
            "the optional clause [[or {{x}}]] must begin with `and`",
            id="or",
        ),
        pytest.param(
            "select 1 from {{ ref('a') }} [[and b = 1]]",
            "the optional clause [[and b = 1]] has no template tag",
            id="clause without a tag",
        ),
        pytest.param("select {{ X }} from {{ ref('a') }}", "cannot read '{{ X }}'", id="unknown braces"),
        pytest.param("select {% if %} from {{ ref('a') }}", "cannot read '{% if %}'", id="jinja"),
        pytest.param(
            "select [[and {{x}} from {{ ref('a') }}", "cannot read '[['", id="clause that does not end"
        ),
    ],
)
def test_a_query_that_cannot_be_read_is_named(query: str, problem: str) -> None:
    assert problem in problems_of(query)
