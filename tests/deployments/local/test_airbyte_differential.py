"""Whatever happens to a table, after each sync the replicated rows equal those of an independent model.

Rows are compared as Python values that two other drivers read, psycopg on one side, DuckDB on the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.airbyte_engine import Engine, open_engine
from tests.conftest import Cluster

pytestmark = pytest.mark.thorough

_numbers = itertools.count(1)
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "numeric(9,3)": st.decimals(-999999, 999999, places=3),
    "numeric(30,0)": st.integers(-(10**29), 10**29),
    "text": TEXT,
    "boolean": st.booleans(),
    "double precision": st.floats(allow_nan=False),
    "date": st.dates(),
    "timestamp": st.datetimes(),
}


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("differential")) as engine:
        yield engine


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], int, list[list[tuple[str, int, list[Any]]]]]:
    """Draw column types, the number of key columns, and rounds of (what, key, values) between syncs."""
    types = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    change = st.tuples(
        st.sampled_from(["put", "put", "put", "delete", "put at the same time"]),
        st.integers(0, 12),
        st.tuples(*(st.none() | COLUMNS[declared] for declared in types)).map(list),
    )
    rounds = st.lists(st.lists(change, max_size=20), min_size=2, max_size=3)
    return types, draw(st.integers(1, 2)), draw(rounds)


@given(histories())
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a failing history is small enough; shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_after_each_sync_the_rows_equal_the_source(
    engine: Engine, history: tuple[list[str], int, list[list[tuple[str, int, list[Any]]]]]
) -> None:
    types, keys, rounds = history
    number = next(_numbers)
    key = [f"k{i}" for i in range(keys)]
    names = [*key, *(f"c{i}" for i in range(len(types))), "seen_at"]
    for table in (f"deduped_{number}", f"whole_{number}"):
        declared = [
            *(f"{name} int" for name in key),
            *(f"c{i} {kind}" for i, kind in enumerate(types)),
            "seen_at int",
        ]
        engine.source.execute(
            f"create table {table} ({', '.join(declared)}, primary key ({', '.join(key)}))".encode()
        )
    clock, expected = 0, dict[tuple[int, ...], tuple[Any, ...]]()
    columns, order = ", ".join(names), ", ".join(key)
    for changes in rounds:
        for what, identity, values in changes:
            clock += what != "put at the same time"
            row = (*divmod(identity, 5)[-keys:], *values, clock)
            for table in (f"deduped_{number}", f"whole_{number}"):
                apply(engine, table, what, key, names, row)
        deduped = engine.sync(f"deduped_{number}", cursor="seen_at", key=key)
        engine.sync(f"whole_{number}", "full_refresh_overwrite")

        origin = engine.origin(f"whole_{number}", columns, order)
        assert engine.rows(f"whole_{number}", columns, order) == origin
        # Cursor syncs do not see deletions: a deleted row stays as it was at the last sync before.
        expected |= {row[:keys]: row for row in origin}
        assert engine.rows(f"deduped_{number}", columns, order) == [expected[k] for k in sorted(expected)]
        assert deduped.committed <= deduped.emitted
        assert engine.sync(f"deduped_{number}", cursor="seen_at", key=key).committed == 0


def apply(
    engine: Engine, table: str, what: str, key: list[str], names: list[str], row: tuple[Any, ...]
) -> None:
    """Do one change to the source."""
    if what == "delete":
        condition = " and ".join(f"{name} = %s" for name in key)
        engine.source.execute(f"delete from {table} where {condition}".encode(), row[: len(key)])
        return
    marks = ", ".join(["%s"] * len(row))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    conflict = f"on conflict ({', '.join(key)}) do update set {updates}"
    engine.source.execute(f"insert into {table} values ({marks}) {conflict}".encode(), row)
