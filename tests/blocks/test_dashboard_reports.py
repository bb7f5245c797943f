from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from typing import Any

import duckdb
import pytest
from dashboard_marts import create_marts, fill_marts
from pypdf import PdfReader

from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_pages import on_cursor
from blocks.dashboard_queries import render
from blocks.dashboard_reports import Format, Report, dashboard_named, figure_words, rendered, report_of
from blocks.dashboard_reports.content import Figure, Picture, Table, drawable
from blocks.dashboard_reports.message import message_of
from blocks.dashboard_reports.paper import _pages
from blocks.dashboard_reports.strips import INNER, WIDTH, Strip
from blocks.dashboard_reports.tables import table_strips
from blocks.dashboard_reports.text_width import _BY_WIDTH, broken, text_width
from blocks.dashboard_reports.words import Paragraph, paragraphs, styled_html
from blocks.errors import ConfigurationError

SHIPPED = load_dashboards(DASHBOARDS)
LINK = "https://dashboards.example.com/executive_overview.html"


@pytest.fixture(scope="module")
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    """The made-up company; tests only read."""
    with duckdb.connect() as connection:
        create_marts(connection)
        fill_marts(connection)
        yield connection


@pytest.fixture(scope="module")
def reports(marts: duckdb.DuckDBPyConnection) -> dict[str, Report]:
    """The shipped dashboards, asked once."""
    return {each.key: report_of(each, on_cursor(marts), LINK) for each in SHIPPED}


@pytest.fixture(scope="module")
def overview(reports: dict[str, Report]) -> Report:
    return reports["executive_overview"]


@pytest.fixture(scope="module")
def pdf(reports: dict[str, Report]) -> PdfReader:
    """The dashboard with the longest tables, on paper."""
    return PdfReader(io.BytesIO(rendered(reports["inventory"], Format.PDF)))


class Document(HTMLParser):
    """What a mail program sees of a document."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def words(text: str) -> str:
    return re.sub(r"\s+", "", text)


def number_in(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


@pytest.mark.parametrize("board", SHIPPED, ids=lambda board: board.key)
def test_tables_and_figures_are_the_answers_of_the_cards_own_sql(
    board: Dashboard, reports: dict[str, Report], marts: duckdb.DuckDBPyConnection
) -> None:
    parts = {
        part.title: part
        for section in reports[board.key].sections
        for part in section.parts
        if part.kind != "words"
    }
    assert set(parts) == {card.title for card in board.questions}
    for card in board.questions:
        answer = marts.execute(render(card.query)).fetchall()
        part = parts[card.title]
        if isinstance(part, Table):
            assert len(part.rows) + part.left_out == len(answer)
            names = [name for name, *_ in marts.description or []]
            percent = [card.settings_of(name).number_style == "percent" for name in names]
            for row, values in zip(part.rows, answer, strict=True):
                for text, value, right, hundred in zip(row, values, part.numeric, percent, strict=True):
                    if right and value is not None:
                        decimals = len(text.rpartition(".")[2].rstrip("%")) if "." in text else 0
                        expected = abs(float(value)) * (100 if hundred else 1)
                        assert number_in(text) == pytest.approx(expected, abs=0.501 / 10**decimals)
                    elif not right and isinstance(value, str):
                        assert text == value
        if card.display == "scalar":
            assert isinstance(part, Figure)
            assert part.value
            value = number_in(part.value) / (100 if "%" in part.value else 1)
            assert value == pytest.approx(float(answer[0][0]), rel=0.01)


def test_a_latest_figure_has_its_month_and_what_it_is_compared_with(
    overview: Report, marts: duckdb.DuckDBPyConnection
) -> None:
    sums: dict[str, Any] = dict(
        marts.execute(
            "select strftime(sold_date, '%Y-%m'), sum(gross_sales_amount) from marts.fct_sales group by 1"
        ).fetchall()
    )
    sales = next(each for each in overview.figures if each.title == "Gross sales, last full month")
    assert (sales.period, sales.value) == ("Nov 2002", f"${sums['2002-11']:,.2f}")
    month, year = sales.comparisons
    assert (month.period, year.period) == ("Oct 2002", "Nov 2001")
    change = (sums["2002-11"] - sums["2002-10"]) / sums["2002-10"]
    assert month.change
    assert month.change.size == f"{abs(change) * 100:.1f}".removesuffix(".0") + "%"
    assert month.change.tone == ("good" if change > 0 else "bad")


def test_html_needs_nothing_and_no_script(overview: Report) -> None:
    html = rendered(overview, Format.HTML).decode()
    document = Document(html)
    tags = [tag for tag, _ in document.tags]
    assert not {"script", "style", "link", "svg", "iframe", "form"} & set(tags)
    images = [attributes for tag, attributes in document.tags if tag == "img"]
    charts = [part for section in overview.sections for part in section.parts if isinstance(part, Picture)]
    described = [each["alt"] for each in images if each["alt"]]
    assert described == [f"{part.title}. {part.description}" for part in charts]
    for image in images:
        head, _, data = str(image["src"]).partition(",")
        assert head == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    addresses = [
        value
        for _, attributes in document.tags
        for name, value in attributes.items()
        if name in ("href", "src")
    ]
    assert {each for each in addresses if not str(each).startswith("data:")} == {
        LINK,
        f"mailto:{overview.dashboard.owner.email}",
    }


@pytest.mark.thorough
def test_html_says_what_the_pages_say(reports: dict[str, Report]) -> None:
    for report in reports.values():
        text = words(Document(rendered(report, Format.HTML).decode()).text)
        assert "Dataasof2January2003" in text
        for section in report.sections:
            for part in section.parts:
                if isinstance(part, Table):
                    assert all(words(each) in text for row in part.rows for each in row)
                if isinstance(part, Figure):
                    assert words(part.value or "") in text


@pytest.mark.thorough
def test_a_report_of_empty_marts_says_that_there_is_nothing() -> None:
    with duckdb.connect() as empty:
        create_marts(empty)
        for board in SHIPPED:
            report = report_of(board, on_cursor(empty))
            text = Document(rendered(report, Format.HTML).decode()).text
            nothing = text.count("Nothing to show yet.")
            assert nothing >= len(board.questions) / 2
            assert "no data yet" in text
            pages = PdfReader(io.BytesIO(rendered(report, Format.PDF))).pages
            assert sum(page.extract_text().count("Nothing to show yet.") for page in pages) == nothing


def test_what_would_end_the_process_that_draws_is_left_out() -> None:
    assert drawable("a\x0bb\x1f\uffff ü\U0001f600\n") == "ab ü\U0001f600\n"


@pytest.mark.thorough
def test_text_from_the_marts_cannot_leave_its_place() -> None:
    evil = "</td><img src=x onerror=alert(1)>\x0b&"
    with duckdb.connect() as connection:
        create_marts(connection)
        fill_marts(connection)
        connection.execute("update marts.dim_items set category = ?, product_name = ?", [evil, evil])
        report = report_of(dashboard_named(SHIPPED, "inventory"), on_cursor(connection))
    document = Document(rendered(report, Format.HTML).decode())
    assert all("onerror" not in attributes for _, attributes in document.tags)
    assert evil.replace("\x0b", "") in document.text
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(rendered(report, Format.PDF))).pages)
    assert words("</td><img") in words(text)


@pytest.mark.thorough
def test_pages_are_a4_and_numbered(pdf: PdfReader, reports: dict[str, Report]) -> None:
    for number, page in enumerate(pdf.pages, start=1):
        assert (float(page.mediabox.width), float(page.mediabox.height)) == pytest.approx(
            (595.3, 841.9), abs=0.5
        )
        assert f"{number} of {len(pdf.pages)}" in page.extract_text()
    assert pdf.metadata
    assert pdf.metadata.title == "Inventory, data as of 2 January 2003"
    text = words("".join(page.extract_text() for page in pdf.pages))
    for section in reports["inventory"].sections:
        for part in section.parts:
            if isinstance(part, Table):
                assert all(words(each) in text for row in part.rows for each in row)


def test_a_table_too_wide_for_the_page_is_folded_into_it() -> None:
    long = "a description of some length that needs several lines"
    row = ("x" * 90, long, long, "$1,234,567.89", "1,234,567.89 weeks", long)
    part = Table(
        "Wide",
        "Six columns.",
        ("Id", "What it is", "Why", "Money", "Time", "More"),
        ("text", "text", "text", "number", "number", "text"),
        (row, row),
    )
    drawn = 0
    for strip in list(table_strips(part))[1:]:
        for x, anchor, words_ in re.findall(
            r'<text x="([^"]+)"[^>]*?( text-anchor="end")?>([^<]*)<', strip.svg
        ):
            bold = 'font-weight="bold"' in strip.svg
            width = text_width(words_, 11, bold)
            left = float(x) - (width if anchor else 0)
            assert left >= 0
            assert left + width <= INNER + 1
            drawn += len(words_.replace(" ", ""))
    assert drawn >= 2 * len(words("".join(row)))


def test_a_long_word_gives_way_before_a_short_one_is_cut() -> None:
    row = ("A" * 40, "B" * 40, "Electronics", "Conventional", "1,234,567", "12,345,678.90", "2 January 2003")
    kinds = ("text", "text", "text", "text", "number", "number", "date")
    heads = ("Item", "Code", "Category", "Warehouse", "On hand", "Stock value", "Counted on")
    _, _, strip, *_ = table_strips(Table("Wide", "Seven columns.", heads, kinds, (row,)))
    found = re.findall(r">([^<]+)</text>", strip.svg)
    assert set(row[2:]) <= set(found)
    assert "".join(each for each in found if set(each) == {"A"}) == row[0]


def test_an_endless_text_does_not_fill_the_page() -> None:
    strips = list(table_strips(Table("Notes", "One column.", ("Note",), ("text",), (("words " * 2000,),))))
    assert max(strip.height for strip in strips) < 200
    assert "…" in strips[2].svg


def test_a_table_that_goes_on_repeats_its_head() -> None:
    head = Strip(20, "head")
    rows = [Strip(30, f"row {number}", head=head) for number in range(10)]
    pages = _pages([Strip(40, "title", with_next=True), Strip(20, "head", with_next=True), *rows], 130)
    assert [[strip.svg for strip in page] for page in pages] == [
        ["title", "head", "row 0", "row 1"],
        ["head", "row 2", "row 3", "row 4"],
        ["head", "row 5", "row 6", "row 7"],
        ["head", "row 8", "row 9"],
    ]
    assert all(sum(strip.height for strip in page) <= 130 for page in pages)


def test_a_title_never_stands_alone_at_the_foot_of_a_page() -> None:
    strips = [Strip(80, "text"), Strip(10, "title", with_next=True), Strip(50, "chart")]
    assert [[each.svg for each in page] for page in _pages(strips, 100)] == [["text"], ["title", "chart"]]


@pytest.mark.thorough
def test_the_picture_is_as_wide_as_a_mail_and_twice_as_fine(overview: Report) -> None:
    png = rendered(overview, Format.PNG)
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width == 2 * WIDTH
    assert height > 2 * width


def test_lines_are_as_wide_as_the_font_draws_them() -> None:
    import vl_convert

    for width, letters in _BY_WIDTH.items():
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="40"><text y="20" font-size="10" '
            f'font-family="Liberation Sans">{escape(letters)}</text></svg>'
        )
        page: Any = PdfReader(io.BytesIO(vl_convert.svg_to_pdf(svg))).pages[0]
        [font] = page["/Resources"]["/Font"].values()
        missing, *drawn = _widths(font.get_object()["/DescendantFonts"][0].get_object()["/W"])
        assert {round(float(each)) for each in drawn if each != missing} == {width}, letters
    assert set("".join(_BY_WIDTH.values())) >= {chr(code) for code in range(32, 127)}


def _widths(entries: Any) -> Iterator[Any]:
    """Yield the widths of a PDF's table of them: `first [w w ...]` or `first last w`."""
    entries = list(entries)
    while entries:
        if isinstance(entries[1], list):
            yield from entries[1]
            entries = entries[2:]
        else:
            yield entries[2]
            entries = entries[3:]


def test_lines_are_broken_between_words_and_long_words_are_cut() -> None:
    lines = broken("Weeks of supply of everything in the warehouse", 12, 100)
    assert " ".join(lines) == "Weeks of supply of everything in the warehouse"
    assert all(text_width(line, 12) <= 100 for line in lines)
    assert "".join(broken("x" * 100, 12, 100)) == "x" * 100
    assert broken("", 12, 100) == [""]


def test_text_cards_are_read_without_their_marks() -> None:
    markdown = "## Who *buys*?\n\nRead **this**\nfirst:\n\n- one\n- two `code`"
    assert paragraphs(markdown) == [
        Paragraph("heading", "Who buys?"),
        Paragraph("paragraph", "Read this first:"),
        Paragraph("item", "one"),
        Paragraph("item", "two code"),
    ]
    html = styled_html(
        "## Who\n\n<b>no</b> [page](https://example.com)", {"h2": "color:red", "a": "color:blue"}
    )
    assert '<h2 style="color:red">Who</h2>' in html
    assert 'style="color:blue"' in html
    assert "<b>" not in html


@pytest.mark.parametrize(
    "form", [Format.HTML, Format.PDF, pytest.param(Format.PNG, marks=pytest.mark.thorough)]
)
def test_a_report_as_a_mail(overview: Report, form: Format) -> None:
    message = message_of(
        overview,
        form,
        sender="floe@example.com",
        recipients=["ada@example.com", "bob@example.com"],
        message_id="1",
    )
    assert message["Subject"] == "Executive overview – data as of 2 January 2003"
    assert message["To"] == "ada@example.com, bob@example.com"
    assert message["Message-ID"] == "<1@example.com>"
    plain: Any = message.get_body(("plain",))
    assert figure_words(overview.figures[0]) in plain.get_content()
    assert LINK in plain.get_content()
    if form is Format.HTML:
        html: Any = message.get_body(("html",))
        # Gmail cuts a mail at 102 kB, pictures beside it not counted.
        assert len(html.get_content()) < 100_000
        document = Document(html.get_content())
        wanted = [str(attributes["src"]) for tag, attributes in document.tags if tag == "img"]
        parts = {part["Content-ID"]: part for part in message.walk() if part["Content-ID"]}
        assert [f"<{each.removeprefix('cid:')}>" for each in wanted] == list(parts)
        assert all(part.get_content().startswith(b"\x89PNG") for part in parts.values())
    else:
        [attached] = message.iter_attachments()
        assert attached.get_filename() == f"executive_overview-2003-01-02.{form}"
        assert attached.get_content_type() == form.content_type
        assert attached.get_content()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF"}[form]


def test_a_dashboard_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError) as caught:
        dashboard_named(SHIPPED, "sales")
    assert caught.value.next_command == "name one of: executive_overview, inventory, customers"
