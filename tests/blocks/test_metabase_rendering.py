"""What a definition becomes in Metabase, and how a difference is told; no server."""

from __future__ import annotations

from typing import Any

import pytest

from blocks.dashboard_definitions import Dashboard
from blocks.errors import ConfigurationError
from blocks.metabase_content import Translator
from blocks.metabase_fields import MartFields
from blocks.metabase_marker import Marker, digest, entity_id, marked, unmarked
from blocks.metabase_plan import differences
from blocks.metabase_rendering import Managed, managed_objects
from blocks.metabase_settings import MartNames

LOWER, UPPER = MartNames("marts", False), MartNames("MARTS", True)


def dashboard(**card: Any) -> Dashboard:
    """Return a dashboard with one card."""
    whole = {
        "key": "sales",
        "title": "Sales",
        "description": "Sales.",
        "display": "table",
        "query": "select a from {{ ref('fct_sales') }} where a [[and {{period}}]] [[and x = {{channel}}]];",
        "position": {"row": 0, "col": 0, "size_x": 6, "size_y": 4},
        "template-tags": {
            "period": {"dimension": "fct_sales.sold_date"},
            "channel": {"type": "text"},
        },
    }
    return Dashboard.model_validate(
        {
            "key": "board",
            "title": "Board",
            "description": "All.",
            "owner": {"name": "Mia", "email": "mia@example.com"},
            "collection": "Leadership & more",
            "data_as_of": "fct_sales.updated_at",
            "filters": [
                {
                    "key": "period",
                    "title": "Period",
                    "type": "date/all-options",
                    "field": "fct_sales.sold_date",
                },
                {
                    "key": "channel",
                    "title": "Channel",
                    "type": "string/=",
                    "field": "fct_sales.sales_channel",
                },
            ],
            "tabs": [{"key": "one", "title": "One", "cards": [whole | card]}],
        }
    )


def card_of(names: MartNames = LOWER, **card: Any) -> dict[str, Any]:
    """Return the content of that card."""
    (found,) = [each for each in managed_objects([dashboard(**card)], names) if each.kind == "card"]
    return found.content


def drawn(display: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of that card without the columns'."""
    content = card_of(UPPER, display=display, visualization_settings=settings)
    return {
        name: value for name, value in content["visualization_settings"].items() if name != "column_settings"
    }


def test_the_query_names_the_schema_and_keeps_tags_and_clauses() -> None:
    assert card_of()["query"] == (
        "select a from marts.fct_sales where a [[and {{period}}]] [[and x = {{channel}}]]"
    )


def test_each_display_is_told_its_columns_as_the_warehouse_answers_them() -> None:
    one = {"graph.dimensions": ["month"], "graph.metrics": ["amount"]}
    axes = {"graph.x_axis.title_text": "Month", "graph.y_axis.title_text": "USD"}
    graph = {"graph.dimensions": ["MONTH"], "graph.metrics": ["AMOUNT"], **axes}
    for display in ("line", "area", "bar", "row"):
        assert drawn(display, **one, **axes) == graph
    assert drawn("bar", **one, **axes, **{"stackable.stack_type": "stacked"}) == {
        **graph,
        "stackable.stack_type": "stacked",
    }
    assert drawn("pie", **one) == {"pie.dimension": "MONTH", "pie.metric": "AMOUNT"}
    assert drawn("scalar", **{"graph.metrics": ["amount"]}) == {"scalar.field": "AMOUNT"}
    assert drawn("table") == {}
    assert drawn("smartscalar", **one, **{"scalar.comparisons": [1, 12]}) == {
        "scalar.field": "AMOUNT",
        "scalar.comparisons": [
            {"id": "1", "type": "previousPeriod"},
            {"id": "2", "type": "periodsAgo", "value": 12},
        ],
        "scalar.switch_positive_negative": False,
    }


def test_columns_keep_title_number_and_date_styles() -> None:
    settings = {
        "amount": {"number_style": "currency", "currency": "EUR", "decimals": 0},
        "share": {"column_title": "Share", "number_style": "percent", "decimals": 1, "suffix": " pts"},
        "month": {"temporal_unit": "month"},
    }
    content = card_of(visualization_settings={"column_settings": settings})
    assert content["visualization_settings"]["column_settings"] == {
        '["name","amount"]': {
            "column_title": "Amount",
            "number_style": "currency",
            "currency": "EUR",
            "decimals": 0,
        },
        '["name","share"]': {
            "column_title": "Share",
            "number_style": "percent",
            "decimals": 1,
            "suffix": " pts",
        },
        '["name","month"]': {"column_title": "Month", "date_style": "MMMM, YYYY"},
    }


def test_a_filter_reaches_the_card_as_a_field_filter_or_as_a_variable() -> None:
    objects: list[Managed] = managed_objects([dashboard()], LOWER)
    collection, card, board = (each.content for each in objects)
    assert collection["name"] == "Leadership & more"
    tags = card["template_tags"]
    assert (tags["period"]["type"], tags["period"]["dimension"]) == ("dimension", "fct_sales.sold_date")
    assert tags["period"]["widget-type"] == "date/all-options"
    assert (tags["channel"]["type"], "dimension" in tags["channel"]) == ("text", False)
    (dashcard,) = board["dashcards"]
    targets = {tuple(each["target"][1]): each["target"][0] for each in dashcard["parameter_mappings"]}
    assert targets == {("template-tag", "period"): "dimension", ("template-tag", "channel"): "variable"}
    assert {each["parameter_id"] for each in dashcard["parameter_mappings"]} == {
        each["id"] for each in board["parameters"]
    }


def test_ids_are_the_same_every_time() -> None:
    first, second = (managed_objects([dashboard()], LOWER) for _ in range(2))
    assert first == second
    assert entity_id("card/board/sales") == entity_id("card/board/sales") != entity_id("card/board/other")
    assert len(entity_id("card/board/sales")) == 21


def test_collections_that_would_share_a_key_are_refused() -> None:
    other = dashboard().model_copy(update={"collection": "Leadership, more"})
    with pytest.raises(ConfigurationError, match="too alike"):
        managed_objects([dashboard(), other], LOWER)


@pytest.mark.parametrize(
    "marker",
    [
        Marker("dashboard/a", 12, "0123456789ab"),
        Marker("card/a/b", None, "0123456789ab"),
        Marker("collection/a", 7),
        Marker("dashboard/a", 12, "archived"),
    ],
    ids=str,
)
def test_a_mark_is_read_as_it_was_written(marker: Marker) -> None:
    assert unmarked(marked("Words.\n\nMore.", marker)) == ("Words.\n\nMore.", marker)


def test_a_query_of_an_older_server_is_read_the_same() -> None:
    content = card_of()
    fields = MartFields(fields={"fct_sales.sold_date": {"id": 9}})
    translator = Translator(1, fields, _Numbers())
    sent = translator.card_body(content)
    (stage,) = sent["dataset_query"]["stages"]
    tags = {
        name: {**tag, "dimension": ["field", 9, None]} if "dimension" in tag else tag
        for name, tag in stage["template-tags"].items()
    }
    older = {"type": "native", "database": 1, "native": {"query": stage["native"], "template-tags": tags}}
    for query in (sent["dataset_query"], older):
        assert translator.card_content(sent | {"dataset_query": query, "description": "Sales."}) == content


class _Numbers:
    """One collection."""

    def number_of(self, key: str) -> int:
        return 5

    def key_of_card(self, number: int) -> str:
        return ""

    def key_of_collection(self, number: int | None) -> str:
        return "collection/leadership_more"


def test_a_column_that_a_mart_lost_is_no_change_by_hand() -> None:
    content = card_of()
    lost = content | {
        "template_tags": content["template_tags"]
        | {"period": content["template_tags"]["period"] | {"dimension": "field 9, which is no mart's"}}
    }
    assert digest(lost) == digest(content)
    assert digest(content | {"name": "Other"}) != digest(content)


def test_differences_name_the_place_and_both_values() -> None:
    old = {"name": "A", "query": "select 1\nfrom x", "dashcards": [{"card": "card/a/b", "row": 0}]}
    new = {"name": "B", "query": "select 2\nfrom x", "dashcards": [{"card": "card/a/c", "row": 0}]}
    assert [*differences(old, new)] == [
        "dashcards: − card/a/b",
        "dashcards: + card/a/c",
        "name: A → B",
        "query:",
        "  -select 1",
        "  +select 2",
    ]
    moved = {**old, "dashcards": [{"card": "card/a/b", "row": 3}]}
    assert [*differences(old, moved)] == ["dashcards[card/a/b].row: 0 → 3"]
