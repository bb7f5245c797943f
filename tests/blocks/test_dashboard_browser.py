"""The pages in a real browser. Skipped, with the reason, where no Chromium is installed."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from browser import CHROMIUM, Page, browser
from dashboard_marts import create_marts, fill_marts

from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_pages import RenderedPages, on_cursor, render_pages

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: pages not opened"),
]

SHIPPED = load_dashboards(DASHBOARDS)
SIZES = [pytest.param(1400, 900, id="desktop"), pytest.param(390, 844, id="phone")]
DRAWN = "document.documentElement.dataset.drawn && cards().every((each) => each.children.length)"
# A chart is drawn when Vega's picture has marks in it.
CARDS = """
window.cards = () => [...document.querySelectorAll("[data-panel]:not([hidden]) .card .body")];
const charts = "[data-panel]:not([hidden]) :is(.line, .bar, .row, .area, .pie) .body";
window.marks = () => [...document.querySelectorAll(charts)]
  .map((body) => body.querySelectorAll("svg :is(.mark-rect, .mark-line, .mark-area, .mark-arc) path").length);
window.choose = (name, value) => {
  const control = document.getElementById("filters").elements[name];
  control.value = value;
  control.dispatchEvent(new Event("change", { bubbles: true }));
};
"""


@pytest.fixture(scope="module")
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        create_marts(connection)
        fill_marts(connection)
        yield connection


@pytest.fixture(scope="module")
def rendered(marts: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory) -> RenderedPages:
    return render_pages(SHIPPED, on_cursor(marts), tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=CARDS)
        yield page


@pytest.fixture
def page(chromium: Page) -> Iterator[Page]:
    """The browser's tab; whatever a test does in it, the console stays clean and no host is asked."""
    chromium.errors.clear()
    chromium.requests.clear()
    yield chromium
    assert chromium.errors == []
    assert [each for each in chromium.requests if not each.startswith(("file:", "data:", "about:"))] == []


def open_page(page: Page, rendered: RenderedPages, name: str, width: int = 1400, height: int = 900) -> None:
    page.open(f"{rendered.index.parent.as_uri()}/{name}", width, height)
    page.wait_for(DRAWN)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("key", [each.key for each in SHIPPED])
def test_every_card_of_every_tab_is_drawn_within_the_window(
    page: Page, rendered: RenderedPages, key: str, width: int, height: int
) -> None:
    for tab in next(each for each in SHIPPED if each.key == key).tabs:
        open_page(page, rendered, f"{key}.html#tab={tab.key}", width, height)
        charts = [card for card in tab.questions if card.display in ("line", "bar", "row", "area", "pie")]
        page.wait_for(f"marks().length === {len(charts)} && marks().every((count) => count > 0)")
        assert page.evaluate("cards().length") == len(tab.questions)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_index_leads_to_every_dashboard(
    page: Page, rendered: RenderedPages, width: int, height: int
) -> None:
    page.open(rendered.index.as_uri(), width, height)
    links = page.evaluate(
        "[...document.querySelectorAll('main h3 a')].map((each) => each.getAttribute('href'))"
    )
    assert links == [f"{each.key}.html" for each in SHIPPED]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_filter_changes_the_numbers_to_those_of_the_marts(
    page: Page, rendered: RenderedPages, marts: duckdb.DuckDBPyConnection
) -> None:
    open_page(page, rendered, "executive_overview.html#tab=mix")
    table = """[...document.querySelectorAll("#card-category_table tbody tr")].map((row) =>
      [row.children[0].textContent, Number(row.children[2].dataset.value)])"""
    sql = """
        select category, cast(sum(gross_sales_amount) as double) as amount
        from marts.fct_sales inner join marts.dim_items using (item_sk)
        where sold_date is not null and {where}
        group by 1 order by 2 desc
    """

    def expected(where: str) -> list[list[object]]:
        return [list(row) for row in marts.execute(sql.format(where=where)).fetchall()]

    assert page.evaluate(table) == expected("true")
    page.evaluate("choose('channel', 'web')")
    assert page.evaluate(table) == expected("sales_channel = 'web'")
    page.evaluate("choose('period', '2002-01-01~2002-12-31')")
    assert page.evaluate(table) == expected("sales_channel = 'web' and year(sold_date) = 2002")
    assert (
        page.evaluate("document.getElementById('announce').textContent")
        == "Showing Period: 2002 · Channel: web"
    )
    page.evaluate("document.querySelector('#filters [type=reset]').click()")
    page.wait_for("document.getElementById('announce').textContent === 'Showing everything'")
    assert page.evaluate(table) == expected("true")


def test_a_chosen_view_is_in_the_address_and_comes_back(page: Page, rendered: RenderedPages) -> None:
    open_page(page, rendered, "executive_overview.html")
    page.evaluate("choose('category', 'Music'); document.getElementById('tab-mix').click()")
    address = page.evaluate("location.href")
    assert address.endswith("#tab=mix&category=Music")
    open_page(page, rendered, address.rsplit("/", 1)[1])
    assert page.evaluate("document.getElementById('filters').elements.category.value") == "Music"
    assert page.evaluate("document.getElementById('panel-performance').hidden")


def test_a_figure_is_compared_with_the_month_and_the_year_before(
    page: Page, rendered: RenderedPages, marts: duckdb.DuckDBPyConnection
) -> None:
    open_page(page, rendered, "executive_overview.html#period=2002-01-01~2002-12-31")
    month = (
        "(select sum(gross_sales_amount) from marts.fct_sales where date_trunc('month', sold_date) = '{}')"
    )
    sums = [month.format(day) for day in ("2002-11-01", "2002-10-01")]
    last, before = (
        marts.execute(f"select cast({sums[0]} as double), cast({sums[1]} as double)").fetchone() or ()
    )
    card = "document.getElementById('card-gross_sales_last_month')"
    assert page.evaluate(f"Number({card}.querySelector('.value').dataset.value)") == last
    words = page.evaluate(f"[...{card}.querySelectorAll('.compare li')].map((each) => each.textContent)")
    arrow = "▲" if last > before else "▼"
    size = f"{abs(last - before) / before * 100:.1f}".removesuffix(".0")
    assert words == [f"{arrow} {size}% vs Oct 2002", "no figure for Nov 2001"]


def test_the_page_is_used_by_keyboard_alone(page: Page, rendered: RenderedPages) -> None:
    open_page(page, rendered, "customers.html")
    page.evaluate("document.getElementById('tab-value').focus()")
    page.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-movement"
    assert not page.evaluate("document.getElementById('panel-movement').hidden")
    page.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    assert page.evaluate("document.getElementById('panel-movement').hidden")


def test_the_data_behind_a_chart_can_be_read_as_a_table(page: Page, rendered: RenderedPages) -> None:
    open_page(page, rendered, "customers.html")
    page.evaluate("document.querySelector('[data-show=customers_by_state]').click()")
    assert page.evaluate("document.getElementById('data').open")
    assert page.evaluate("document.querySelectorAll('#data tbody tr').length") == 4
    heads = page.evaluate("[...document.querySelectorAll('#data thead th')].map((each) => each.textContent)")
    assert heads == ["State", "Customers"]


def test_every_control_and_picture_has_a_name(page: Page, rendered: RenderedPages) -> None:
    for each in SHIPPED:
        open_page(page, rendered, f"{each.key}.html")
        page.call("Accessibility.enable")
        nodes = page.call("Accessibility.getFullAXTree")["nodes"]
        roles = ("button", "combobox", "link", "tab", "tabpanel", "figure", "graphics-document", "region")
        found = [
            node for node in nodes if node.get("role", {}).get("value") in roles and not node.get("ignored")
        ]
        assert len(found) > 10
        assert [node for node in found if not node.get("name", {}).get("value")] == []


def test_the_theme_follows_the_system_until_the_reader_chooses(page: Page, rendered: RenderedPages) -> None:
    page.open((rendered.index.parent / "inventory.html").as_uri(), dark=True)
    page.wait_for(DRAWN)
    background = "getComputedStyle(document.body).backgroundColor"
    label = "document.querySelector('.mark-text.role-axis-label text').getAttribute('fill')"
    dark, dark_label = page.evaluate(background), page.evaluate(label)
    page.evaluate("document.getElementById('theme').click()")
    page.wait_for(f"{background} !== '{dark}' && {label} !== '{dark_label}'")
    assert page.evaluate("document.getElementById('theme').getAttribute('aria-pressed')") == "false"
    page.evaluate("localStorage.clear()")


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_dates_are_the_same_in_every_time_zone(page: Page, rendered: RenderedPages, zone: str) -> None:
    page.call("Emulation.setTimezoneOverride", timezoneId=zone)
    try:
        open_page(page, rendered, "inventory.html")
        period = "document.querySelector('#card-units_on_hand .period').textContent"
        assert page.evaluate(period) == "Week of 23 Dec 2002"
        points = "document.querySelectorAll('#card-supply_by_week [aria-label]')"
        tips = page.evaluate(f"[...{points}].map((each) => each.ariaLabel)")
        assert any("23 Dec 2002" in each for each in tips)
    finally:
        page.call("Emulation.setTimezoneOverride", timezoneId="")
