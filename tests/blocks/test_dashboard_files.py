from __future__ import annotations

from pathlib import Path

import pytest

from blocks.dashboard_definitions import Dashboard, TextCard
from blocks.dashboard_files import DASHBOARDS, InvalidDashboard, load_dashboards

VALID = """\
key: sales
title: Sales
description: What is sold.
owner: {name: Ann, email: ann@example.com}
collection: Shop
data_as_of: fct_sales.sold_date
filters:
  - {key: category, title: Category, type: string/=, field: dim_items.category}
tabs:
  - key: all
    title: All
    cards:
      - display: text
        text: What sells?
        position: {row: 0, col: 0, size_x: 24, size_y: 1}
      - key: total
        title: Total
        description: All of it.
        display: bar
        position: {row: 1, col: 0, size_x: 12, size_y: 4}
        template-tags:
          category: {dimension: dim_items.category}
        query: select a, b from {{ ref('fct_sales') }} where {{category}} order by a
        visualization_settings:
          graph.dimensions: [a]
          graph.metrics: [b]
          graph.x_axis.title_text: A
          graph.y_axis.title_text: B
"""


def write(folder: Path, text: str, name: str = "sales") -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(text)
    return file


def problems(folder: Path) -> list[str]:
    with pytest.raises(InvalidDashboard) as caught:
        load_dashboards(folder)
    return caught.value.what.splitlines()[1:]


def test_a_valid_file_is_read(tmp_path: Path) -> None:
    write(tmp_path, VALID)
    [dashboard] = load_dashboards(tmp_path)
    [card] = dashboard.questions
    assert (card.key, card.visualization_settings.metrics) == ("total", ("b",))
    assert card.template_tags["category"].dimension == "dim_items.category"


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        pytest.param(
            "title: Total", "titel: Total", 17, "titel: Extra inputs are not permitted", id="misspelt key"
        ),
        pytest.param("display: bar", "display: sankey", 16, "Input tag 'sankey' found", id="unknown display"),
        pytest.param("size_x: 12", "size_x: 30", 20, "less than or equal to 24", id="too wide"),
        pytest.param(
            "col: 0, size_x: 12",
            "col: 20, size_x: 12",
            20,
            "the grid, which is 24 wide",
            id="beyond the grid",
        ),
        pytest.param("{row: 1, col: 0,", "{row: 0, col: 0,", 20, "overlaps a text card", id="overlap"),
        pytest.param(
            "{{category}}", "{{region}}", 23, "{{region}} is not declared under template-tags", id="tag"
        ),
        pytest.param("where {{category}}", "", 22, "the query does not use this tag", id="tag not used"),
        pytest.param(
            "{dimension: dim_items.category}",
            "{type: text}",
            22,
            "must stand in an optional clause",
            id="text",
        ),
        pytest.param(
            "{dimension: dim_items.category}", "{}", 22, "names its field as `dimension", id="no dimension"
        ),
        pytest.param(
            "{key: category,", "{key: region,", 22, "the dashboard has no filter of this name", id="filter"
        ),
        pytest.param(
            "graph.metrics: [b]", "graph.metrics: []", 26, "a bar takes 1 to 5 metric(s)", id="no metric"
        ),
        pytest.param(
            "display: bar", "display: scalar", 25, "a scalar takes 0 dimension(s)", id="scalar over time"
        ),
        pytest.param("graph.x_axis.title_text: A", "", 24, "name both axes", id="axis without a title"),
        pytest.param(
            "graph.metrics: [b]",
            "graph.metrics: [b, c]\n          column_settings: {a: {temporal_unit: week}}",
            24,
            "would cover each other",
            id="weekly bars side by side",
        ),
        pytest.param(
            "{{ ref('fct_sales') }}", "marts.fct_sales", 23, "the query reads no mart", id="schema by hand"
        ),
        pytest.param("key: sales", "key: shop", 1, "must be the file's name, 'sales'", id="file's name"),
        pytest.param("ann@example.com}", "ann@example.com", 5, "not YAML", id="not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, what: str) -> None:
    assert VALID.count(old) >= 1
    file = write(tmp_path, VALID.replace(old, new, 1))
    assert any(each.startswith(f"{file}:{line}: ") and what in each for each in problems(tmp_path)), problems(
        tmp_path
    )


def test_every_problem_of_every_file_is_named(tmp_path: Path) -> None:
    one = write(tmp_path, VALID.replace("owner:", "owned_by:"))
    other = write(
        tmp_path, VALID.replace("key: sales", "key: other").replace("display: bar", "display: x"), "other"
    )
    found = problems(tmp_path)
    assert {each.split(":")[0] for each in found} == {str(one), str(other)}
    assert len(found) == 3


def test_a_card_key_is_used_once(tmp_path: Path) -> None:
    card = VALID[VALID.index("      - key: total") :].replace("row: 1", "row: 9")
    write(tmp_path, VALID + card)
    assert any("'total' is used twice in this dashboard" in each for each in problems(tmp_path))


def test_a_filter_that_no_card_uses_is_a_mistake(tmp_path: Path) -> None:
    more = "\n  - {key: brand, title: Brand, type: string/=, field: dim_items.brand}\ntabs:"
    file = write(tmp_path, VALID.replace("\ntabs:", more, 1))
    assert problems(tmp_path) == [f"{file}:9: filters.1: no card uses the filter 'brand'"]


def test_an_empty_folder_is_a_mistake_where_dashboards_are_to_be_shown(tmp_path: Path) -> None:
    with pytest.raises(InvalidDashboard, match="There is no dashboard"):
        load_dashboards(tmp_path)
    assert load_dashboards(tmp_path, allow_none=True) == ()


def test_the_navigation_follows_the_declared_position() -> None:
    assert [each.key for each in load_dashboards(DASHBOARDS)] == [
        "executive_overview",
        "inventory",
        "customers",
    ]


@pytest.mark.parametrize("dashboard", load_dashboards(DASHBOARDS), ids=lambda each: each.key)
def test_each_shipped_tab_begins_with_its_question(dashboard: Dashboard) -> None:
    for tab in dashboard.tabs:
        first = tab.cards[0]
        assert isinstance(first, TextCard)
        assert first.text.splitlines()[0].endswith("?")
