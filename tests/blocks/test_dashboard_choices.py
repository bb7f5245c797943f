from __future__ import annotations

from datetime import date

import duckdb
import pytest

from blocks.dashboard_definitions import Filter
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_pages import on_cursor
from blocks.dashboard_pages.choices import Option, filters_of, months_before, options_of, periods, relation


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        pytest.param(date(2003, 1, 2), 12, date(2002, 1, 3), id="a year"),
        pytest.param(date(2003, 1, 2), 3, date(2002, 10, 3), id="over the year's end"),
        pytest.param(date(2003, 5, 31), 3, date(2003, 3, 1), id="a month that is shorter"),
        pytest.param(date(2004, 5, 31), 3, date(2004, 3, 1), id="a leap year's February"),
        pytest.param(date(2002, 12, 31), 12, date(2002, 1, 1), id="the calendar year"),
    ],
)
def test_a_period_begins_the_day_after_the_same_day_of_the_earlier_month(
    day: date, months: int, expected: date
) -> None:
    assert months_before(day, months) == expected


def test_periods_end_at_the_newest_data_and_cover_every_year() -> None:
    found = periods(date(2001, 6, 1), date(2003, 1, 2), date(2003, 4, 1))
    assert [each.label for each in found] == [
        "Last 3 months to 2 Jan 2003",
        "Last 12 months to 2 Jan 2003",
        "2003",
        "2002",
        "2001",
    ]
    assert found[3] == Option("2002", "2002-01-01~2002-12-31", ("date '2002-01-01'", "date '2002-12-31'"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(
            "(1, 'web'), (2, 'it''s'), (3, null)", ["All", "it's", "web"], id="values in order, null left out"
        ),
        pytest.param("(1, 'web')", ["All"], id="one value is no choice"),
        pytest.param("(1, null)", ["All"], id="no value"),
    ],
)
def test_the_entries_of_a_filter_are_the_values_of_its_field(values: str, expected: list[str]) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"create schema marts; create table marts.m as select * from (values {values}) as m (n, c)"
        )
        one = Filter(key="c", title="C", type="string/=", field="m.c")
        options = options_of(one, on_cursor(connection), date(2003, 1, 2))
        assert [each.label for each in options] == expected
        literals = [each.bounds[0] for each in options[1:]]
        assert [connection.execute(f"select {each}").fetchone() for each in literals] == [
            (e,) for e in expected[1:]
        ]


def test_more_than_a_hundred_values_are_not_offered() -> None:
    with duckdb.connect() as connection:
        connection.execute("create schema marts; create table marts.m as select range as c from range(101)")
        one = Filter(key="c", title="C", type="string/=", field="m.c")
        assert len(options_of(one, on_cursor(connection), date(2003, 1, 2))) == 1
        connection.execute("delete from marts.m where c = 100")
        assert len(options_of(one, on_cursor(connection), date(2003, 1, 2))) == 101


@pytest.mark.parametrize(
    ("sales", "expected"),
    [
        pytest.param(1_000, ("period", "channel", "category"), id="small marts: every filter"),
        pytest.param(2_000_000, ("period",), id="large marts: the first one"),
        pytest.param(50_000_000, (), id="huge marts: none"),
    ],
)
def test_filters_are_given_up_before_the_warehouse_is_overworked(
    sales: int, expected: tuple[str, ...]
) -> None:
    [overview, *_] = load_dashboards(DASHBOARDS)
    card = next(each for each in overview.questions if each.key == "gross_sales_by_month")
    options = {key: [Option(str(n), "") for n in range(9)] for key in ("period", "channel", "category")}
    with duckdb.connect() as connection:
        connection.execute(
            f"create schema marts; create view marts.fct_sales as select * from range({sales})"
        )
        for name in ("dim_dates", "dim_items"):
            connection.execute(f"create view marts.{name} as select * from range(0)")
        assert filters_of(card, options, on_cursor(connection)) == expected


def test_combinations_are_numbered_with_the_last_filter_fastest() -> None:
    options = {
        "period": [
            Option("All dates", ""),
            *periods(date(2002, 1, 1), date(2002, 12, 31), date(2002, 12, 31))[-1:],
        ],
        "channel": [Option("All", ""), Option("web", "web", ("'web'",))],
    }
    with duckdb.connect() as connection:
        rows = connection.execute(f"select * from {relation(['period', 'channel'], options)}").fetchall()
    assert rows == [
        (0, None, None, None),
        (1, None, None, "web"),
        (2, date(2002, 1, 1), date(2002, 12, 31), None),
        (3, date(2002, 1, 1), date(2002, 12, 31), "web"),
    ]
