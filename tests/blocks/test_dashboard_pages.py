from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dashboard_marts import create_marts, fill_marts

from blocks.dashboard_definitions import Dashboard, QuestionCard
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_pages import CardFailed, CardUnanswered, RenderedPages, Result, on_cursor, render_pages
from blocks.dashboard_pages.answers import cell
from blocks.dashboard_pages.charts import chart
from blocks.dashboard_queries import Condition, ordering, render

SHIPPED = load_dashboards(DASHBOARDS)
CARDS = [
    pytest.param(board, card, id=f"{board.key}-{card.key}") for board in SHIPPED for card in board.questions
]


@pytest.fixture(scope="module")
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    """The made-up company; tests only read."""
    with duckdb.connect() as connection:
        create_marts(connection)
        fill_marts(connection)
        yield connection


@pytest.fixture(scope="module")
def rendered(marts: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory) -> RenderedPages:
    """The shipped dashboards, drawn once."""
    return render_pages(SHIPPED, on_cursor(marts), tmp_path_factory.mktemp("pages"))


@pytest.fixture
def pages(rendered: RenderedPages, tmp_path: Path) -> Path:
    """A copy of the drawn pages, to draw over."""
    return Path(shutil.copytree(rendered.index.parent, tmp_path / "pages"))


class Scripts(HTMLParser):
    """Reads a page as a browser does: what is in its scripts, what it links to, which elements it has."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.data: dict[str, Any] = {}
        self.cards: dict[str, Any] = {}
        self.links: list[str] = []
        self.tags: list[str] = []
        self._script: dict[str, str | None] = {}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._script = dict(attrs) if tag == "script" else {}
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self._script.get("type") == "application/json" and data.strip():
            if "id" in self._script:
                self.data[str(self._script["id"])] = json.loads(data)
            else:
                settings = json.loads(data)
                self.cards[settings["key"]] = settings
            self._script = {}


def chosen(board: Dashboard, card: QuestionCard, values: dict[str, str]) -> str:
    """Return the card's SQL with one literal per filter: what Metabase would run."""
    kinds = {each.key: each.type for each in board.filters}
    conditions = {}
    for key, value in values.items():
        field = card.template_tags[key].dimension
        if kinds[key] == "date/all-options":
            first, last = value.split("~")
            conditions[key] = Condition(f"{field}::date >= '{first}' and {field}::date <= '{last}'")
        else:
            conditions[key] = Condition(f"{field} = '{value}'" if field else f"'{value}'")
    order = ordering(card.query)
    return f"select * from ({render(card.query, conditions)}) as a" + (f" order by {order}" if order else "")


@pytest.mark.parametrize(("board", "card"), CARDS)
def test_every_choice_in_the_page_is_the_answer_of_the_card_s_own_sql(
    board: Dashboard, card: QuestionCard, rendered: RenderedPages, marts: duckdb.DuckDBPyConnection
) -> None:
    page = Scripts(rendered.index.parent / f"{board.key}.html")
    options = {each["key"]: each["values"] for each in page.data["page-filters"]}
    filters = page.cards[card.key]["filters"]
    answers = page.data[f"rows-{card.key}"]
    choices = list(product(*(options[key] for key in filters)))
    assert len(answers) == len(choices) > 1
    for choice, rows in list(zip(choices, answers, strict=True))[:: max(1, len(choices) // 8)]:
        sql = chosen(board, card, {key: value for key, value in zip(filters, choice, strict=True) if value})
        expected = [[cell(value) for value in row] for row in marts.execute(sql).fetchall()]
        assert [[pytest.approx(value) for value in row] for row in expected] == rows, choice


def test_money_is_exact_to_the_cent(rendered: RenderedPages, marts: duckdb.DuckDBPyConnection) -> None:
    page = Scripts(rendered.index.parent / "executive_overview.html")
    values = next(each["values"] for each in page.data["page-filters"] if each["key"] == "category")
    places = page.cards["sales_share_by_channel"]["filters"]
    assert places == ["period", "channel", "category"]
    rows = page.data["rows-sales_share_by_channel"][values.index("Music")]
    in_cents = marts.execute(
        "select sales_channel, cast(sum(gross_sales_amount) * 100 as bigint) from marts.fct_sales "
        "where sold_date is not null "
        "and item_sk in (select item_sk from marts.dim_items where category = 'Music') "
        "group by 1 order by 1"
    ).fetchall()
    assert [(channel, Decimal(str(amount)) * 100) for channel, amount in rows] == in_cents


def test_pages_need_nothing_but_the_files_beside_them(rendered: RenderedPages) -> None:
    folder = rendered.index.parent
    for file in [rendered.index, *rendered.pages]:
        links = [link for link in Scripts(file).links if not link.startswith(("#", "data:", "mailto:"))]
        assert len(links) >= len(SHIPPED)
        assert [link for link in links if not (folder / link).is_file()] == []
        assert not re.search(
            r"""(src|href)=["']?(https?:)?//|@import|url\(""", file.read_text(encoding="utf-8")
        )


def test_the_page_says_what_its_data_is_of(rendered: RenderedPages) -> None:
    html = {file.stem: file.read_text(encoding="utf-8") for file in rendered.pages}
    assert (
        '<time id="data-as-of" datetime="2003-01-02T00:00:00">2 January 2003</time>'
        in html["executive_overview"]
    )
    assert '<time id="data-as-of" datetime="2003-01-02">2 January 2003</time>' in html["inventory"]


def test_a_card_that_fails_is_named_and_nothing_is_replaced(
    marts: duckdb.DuckDBPyConnection, pages: Path
) -> None:
    before = {file.name: file.read_bytes() for file in pages.iterdir()}
    with duckdb.connect() as broken:
        create_marts(broken)
        broken.execute("alter table marts.fct_returns drop column return_amount")
        with pytest.raises(CardFailed) as caught:
            render_pages(SHIPPED, on_cursor(broken), pages)
    assert "Dashboard 'executive_overview', card 'return_rate_last_month'" in str(caught.value)
    assert "owner Finance Analytics <finance-analytics@example.com>" in str(caught.value)
    assert "return_amount" in str(caught.value)
    assert {file.name: file.read_bytes() for file in pages.iterdir()} == before


def test_a_lost_connection_may_be_tried_again(tmp_path: Path) -> None:
    def lost(sql: str) -> Result:
        raise duckdb.IOException("Unable to connect to Postgres")

    with pytest.raises(CardUnanswered):
        render_pages(SHIPPED, lost, tmp_path)


def test_a_reader_of_a_page_keeps_the_whole_page_that_was_opened(
    marts: duckdb.DuckDBPyConnection, pages: Path
) -> None:
    file = pages / "customers.html"
    before = file.read_bytes()
    with file.open("rb") as reader:
        start = reader.read(1000)
        render_pages(SHIPPED[2:], on_cursor(marts), pages, data_as_of=date(2010, 5, 1))
        assert start + reader.read() == before
    assert b"1 May 2010" in file.read_bytes()


def test_the_index_leads_to_the_documentation_where_there_is_one(
    marts: duckdb.DuckDBPyConnection, pages: Path
) -> None:
    assert "documentation.html" not in Scripts(pages / "index.html").links
    (pages / "documentation.html").write_text("dbt's")
    render_pages(SHIPPED[2:], on_cursor(marts), pages)
    assert "documentation.html" in Scripts(pages / "index.html").links


def test_pages_of_dropped_dashboards_go_and_other_files_stay(
    marts: duckdb.DuckDBPyConnection, pages: Path
) -> None:
    (pages / "notes.html").write_text("mine")
    render_pages(SHIPPED[2:], on_cursor(marts), pages)
    assert sorted(file.name for file in pages.glob("*.html")) == [
        "customers.html",
        "index.html",
        "notes.html",
    ]


def test_a_dashboard_without_data_is_drawn(pages: Path) -> None:
    with duckdb.connect() as empty:
        create_marts(empty)
        render_pages(SHIPPED, on_cursor(empty), pages)
    assert "no data yet" in (pages / "executive_overview.html").read_text(encoding="utf-8")


def test_text_from_the_marts_cannot_leave_its_place(pages: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)><!--"
    with duckdb.connect() as connection:
        create_marts(connection)
        fill_marts(connection)
        connection.execute("update marts.dim_items set category = ?, product_name = ?", [evil, evil])
        connection.execute("update marts.dim_items set category = 'Books' where item_sk = 1")
        render_pages(SHIPPED[1:2], on_cursor(connection), pages)
    inventory = Scripts(pages / "inventory.html")
    assert "img" not in inventory.tags
    assert evil in next(
        each["values"] for each in inventory.data["page-filters"] if each["key"] == "category"
    )
    assert evil in {row[1] for row in inventory.data["rows-slow_movers"][0]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Decimal("12.10"), 12.1, id="decimal"),
        pytest.param(Decimal("9007199254740993"), 9007199254740993, id="a whole decimal keeps every digit"),
        pytest.param(float("nan"), None, id="not a number"),
        pytest.param(date(2003, 1, 2), "2003-01-02", id="day"),
        pytest.param(
            datetime.fromisoformat("2003-01-02T03:04:05.6"), "2003-01-02T03:04:05Z", id="no zone is UTC"
        ),
        pytest.param(
            datetime(2003, 1, 2, 0, 30, tzinfo=timezone(timedelta(hours=2))),
            "2003-01-01T22:30:00Z",
            id="zoned",
        ),
        pytest.param(True, True, id="boolean"),
    ],
)
def test_values_reach_the_page_as_they_are(value: object, expected: object) -> None:
    assert cell(value) == expected
    assert type(cell(value)) is type(expected)


DRAWINGS = [each for each in CARDS if each.values[1].display not in ("scalar", "smartscalar", "table")]


@pytest.mark.parametrize(("board", "card"), DRAWINGS)
def test_every_chart_draws_its_rows_with_named_axes(
    board: Dashboard, card: QuestionCard, rendered: RenderedPages, svg: Callable[[dict[str, Any]], str]
) -> None:
    page = Scripts(rendered.index.parent / f"{board.key}.html")
    settings = page.cards[card.key]
    names = [each["name"] for each in settings["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in page.data[f"rows-{card.key}"][0]]
    picture = svg(settings["spec"] | {"data": {"name": "rows", "values": rows}, "width": 700, "height": 300})
    for title in (card.visualization_settings.x_axis_title, card.visualization_settings.y_axis_title):
        assert title is None or f">{title}<" in picture
    assert "undefined" not in picture
    assert "NaN" not in picture
    marks = len(re.findall(r'aria-roledescription="(?:bar|point|arc mark)"', picture))
    assert marks >= len(rows) or card.display == "area"


@pytest.fixture(scope="session")
def svg() -> Callable[[dict[str, Any]], str]:
    """Draws a specification without a browser."""
    import vl_convert

    return vl_convert.vegalite_to_svg


@pytest.mark.parametrize("stack_type", [None, "stacked", "normalized"])
@pytest.mark.parametrize("display", ["line", "area", "bar", "row"])
def test_several_metrics_are_several_series_with_a_legend(
    display: str, stack_type: str | None, svg: Callable[[dict[str, Any]], str]
) -> None:
    card = QuestionCard.model_validate(
        {
            "key": "both",
            "title": "Both",
            "description": "Sales beside returns.",
            "display": display,
            "query": "select 1 from {{ ref('fct_sales') }}",
            "position": {"row": 0, "col": 0, "size_x": 12, "size_y": 4},
            "visualization_settings": {
                "graph.dimensions": ["week"],
                "graph.metrics": ["sales", "returns"],
                "graph.x_axis.title_text": "Week",
                "graph.y_axis.title_text": "Amount",
                "stackable.stack_type": stack_type,
                "column_settings": {
                    "week": {"temporal_unit": "week"},
                    "sales": {"column_title": "What's sold"},
                },
            },
        }
    )
    rows = [{"week": f"2002-01-{7 * week:02}", "sales": 10 * week, "returns": week} for week in (1, 2, 3)]
    spec = chart(card, [("week", "date"), ("sales", "number"), ("returns", "number")])
    picture = svg(spec | {"data": {"name": "rows", "values": rows}, "width": 600, "height": 300})
    assert "What's sold" in picture
    assert ">Returns<" in picture
    assert "Value: 30" in picture or display == "area"
    assert "NaN" not in picture


def test_colours_stay_when_a_filter_leaves_a_series_out(rendered: RenderedPages) -> None:
    page = Scripts(rendered.index.parent / "executive_overview.html")
    encoding = page.cards["gross_sales_by_month"]["spec"]["encoding"]
    assert encoding["color"]["scale"]["domain"] == ["catalog", "web"]


def test_a_chart_in_another_currency_has_its_sign(rendered: RenderedPages) -> None:
    [overview, *_] = SHIPPED
    card = next(each for each in overview.questions if each.key == "sales_share_by_channel")
    data = card.model_dump(by_alias=True)
    data["visualization_settings"]["column_settings"]["gross_sales_amount"]["currency"] = "EUR"
    spec = chart(
        QuestionCard.model_validate(data), [("sales_channel", "text"), ("gross_sales_amount", "number")]
    )
    assert spec["config"]["locale"]["number"]["currency"] == ["€", ""]
