"""A built mart beside the one that readers see: rows that came, went and changed, column by column."""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks.dbt import PROJECT
from blocks.errors import ConfigurationError
from blocks.mart_differences import GrainBroken, MartComparison, MartMissing, grains

Rows = dict[tuple[int, int], tuple[str | None, int | None]]


def compared(connection: duckdb.DuckDBPyConnection, built: str, published: str) -> MartComparison:
    """Return the comparison of two versions of a mart `sales`, each given by its select."""
    connection.execute("create schema if not exists build; create schema if not exists marts")
    connection.execute(f"create or replace table build.sales as {built}")
    connection.execute(f"create or replace table marts.sales as {published}")
    return MartComparison(connection, "sales", ["day", "item"], "build")


def values(rows: Rows) -> str:
    listed = ", ".join(
        f"({day}, {item}, {'null' if note is None else repr(note)}, {'null' if amount is None else amount})"
        for (day, item), (note, amount) in rows.items()
    )
    source = f"(values {listed})" if rows else "(select 0, 0, '', 0 where false)"
    return (
        "select day::int as day, item::int as item, note::varchar as note, amount::int as amount "
        f"from {source} as t (day, item, note, amount)"
    )


KEYS = st.tuples(st.integers(0, 2), st.integers(0, 2))
ROWS = st.dictionaries(
    KEYS, st.tuples(st.sampled_from(["", "a", None]), st.sampled_from([0, 1, None])), max_size=9
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(built=ROWS, published=ROWS)
def test_counts_and_rows_are_those_of_two_dictionaries(built: Rows, published: Rows) -> None:
    with duckdb.connect() as connection:
        comparison = compared(connection, values(built), values(published))
        found = comparison.differences()
        both = built.keys() & published.keys()
        changed = {key for key in both if built[key] != published[key]}
        assert (found.built_rows, found.published_rows) == (len(built), len(published))
        assert found.added == len(built.keys() - published.keys())
        assert found.removed == len(published.keys() - built.keys())
        assert found.changed == len(changed)
        per_column = Counter(
            name
            for key in changed
            for name, new, old in zip(("note", "amount"), built[key], published[key], strict=True)
            if new != old
        )
        assert found.changed_values == per_column
        assert found.is_same == (built == published)
        listed = [row for rows in comparison.rows() for row in rows.itertuples(index=False)]
    wanted = sorted(changed | (built.keys() ^ published.keys()))
    assert [(row[1], row[2]) for row in listed] == wanted
    assert [row[0] for row in listed] == [
        "changed" if key in both else "added" if key in built else "removed" for key in wanted
    ]


def test_columns_that_came_went_or_changed_their_type_are_named(
    lake_connection: duckdb.DuckDBPyConnection,
) -> None:
    found = compared(
        lake_connection,
        "select 1 as day, 1 as item, '5' as amount, 'x' as channel",
        "select 1 as day, 1 as item, 5 as amount, 'y' as note",
    ).differences()
    assert (found.new_columns, found.gone_columns) == (("channel",), ("note",))
    assert found.retyped == {"amount": ("integer", "varchar")}
    assert (found.changed, found.is_same) == (0, False)


def test_the_rows_show_both_sides(lake_connection: duckdb.DuckDBPyConnection) -> None:
    comparison = compared(
        lake_connection, values({(1, 1): ("new", 2), (1, 2): ("n", 1)}), values({(1, 1): ("old", 2)})
    )
    rows: pd.DataFrame = pd.concat(list(comparison.rows()))
    shown: list[dict[str, Any]] = [dict(row) for _, row in rows.iterrows()]
    assert shown[0] == {
        "difference": "changed",
        "day": 1,
        "item": 1,
        "note (published)": "old",
        "note (built)": "new",
        "amount (published)": 2,
        "amount (built)": 2,
    }
    assert (shown[1]["difference"], shown[1]["note (published)"], shown[1]["note (built)"]) == (
        "added",
        None,
        "n",
    )


@pytest.mark.parametrize(
    "rows", ["select 1 as day, 1 as item from range(2)", "select 1 as day, null::int as item"]
)
def test_rows_that_the_grain_does_not_tell_apart_are_refused(
    lake_connection: duckdb.DuckDBPyConnection, rows: str
) -> None:
    comparison = compared(lake_connection, rows, "select 1 as day, 1 as item")
    with pytest.raises(GrainBroken, match=r"build\.sales: \(day, item\) does not tell its rows apart"):
        comparison.differences()


def test_what_is_not_there_is_named(lake_connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(ConfigurationError, match=r"marts\.sales has no column item, which its grain names"):
        compared(lake_connection, "select 1 as day, 1 as item", "select 1 as day")
    with pytest.raises(MartMissing, match=r"There is no ada_build\.sales in the warehouse"):
        MartComparison(lake_connection, "sales", ["day"], "ada_build")


def test_every_mart_of_the_project_says_what_one_row_is() -> None:
    found = grains(PROJECT)
    assert found["fct_weekly_sales_inventory"] == ("warehouse_sk", "item_sk", "week_start_date")
    assert found.keys() == {file.stem for file in (PROJECT / "models" / "marts").rglob("*.sql")}
