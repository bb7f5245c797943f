"""Whatever happens to a table, after a sync and a reconciliation staging's view equals the source.

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

from blocks.reconcile import Sides
from tests.airbyte_engine import Engine, open_engine
from tests.conftest import Cluster
from tests.deployments.local.test_airbyte_differential import COLUMNS
from tests.reconciling import Table, open_sides

pytestmark = pytest.mark.thorough

_numbers = itertools.count(1)
CHANGES = ["put", "put", "put late", "put at the same time", "put without a cursor", "delete", "rename"]
STEPS = ["sync", "reconcile", "sync and reconcile", "clear"]


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("differential")) as engine:
        yield engine


@pytest.fixture(scope="module")
def sides(engine: Engine) -> Iterator[Sides]:
    with open_sides(engine) as sides:
        yield sides


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[str], int, list[tuple[list[Any], str]]]:
    """Draw column types, the number of key columns, and rounds of changes, each with what comes after it."""
    types = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3))
    change = st.tuples(
        st.sampled_from(CHANGES),
        st.integers(0, 24),
        st.tuples(*(st.none() | COLUMNS[declared] for declared in types)).map(list),
    )
    rounds = st.lists(
        st.tuples(st.lists(change, min_size=1, max_size=12), st.sampled_from(STEPS)), min_size=3, max_size=5
    )
    return types, draw(st.integers(1, 2)), draw(rounds)


@given(histories())
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a failing history is small enough; shrinking takes minutes
    suppress_health_check=[*HealthCheck],
)
def test_after_a_sync_and_a_reconciliation_staging_equals_the_source(
    engine: Engine, sides: Sides, history: tuple[list[str], int, list[tuple[list[Any], str]]]
) -> None:
    types, keys, rounds = history
    key = [f"k{i}" for i in range(keys)]
    table = Table(sides, engine, f"t{next(_numbers)}", key, "seen", {"compare": "all"})
    table.policy["largest_share_deleted"] = 1
    names = [*key, *(f"c{i}" for i in range(len(types))), "seen"]
    declared = [
        *(f"{name} int" for name in key),
        *(f"c{i} {kind}" for i, kind in enumerate(types)),
        "seen int",
    ]
    table.execute(f"create table {table.name} ({', '.join(declared)}, primary key ({', '.join(key)}))")
    columns, order, clock = ", ".join(names), ", ".join(key), 10
    table.sync()
    for changes, step in rounds:
        for what, identity, values in changes:
            clock += what == "put"
            apply(table, what, names, divmod(identity, 5)[-keys:], values, clock)
        if step == "clear":
            engine.sync(table.name, cursor="seen", key=key, job_type="refresh")
        if step.startswith("sync"):
            table.sync()
        if step.endswith("reconcile"):
            table.reconcile()
        if step == "sync and reconcile":
            assert table.staged(columns, order) == table.origin(columns, order)
    table.sync()
    table.reconcile()
    assert table.staged(columns, order) == table.origin(columns, order)
    assert table.found() == {}


def apply(
    table: Table, what: str, names: list[str], key: tuple[int, ...], values: list[Any], clock: int
) -> None:
    """Do one change to the source."""
    source, condition = table.engine.source, " and ".join(f"{name} = %s" for name in table.key)
    if what == "delete":
        source.execute(f"delete from {table.name} where {condition}".encode(), key)
        return
    if what == "rename":
        # A key of its own for a row that has one of the others', with a newer or an older cursor.
        source.execute(
            f"update {table.name} set k0 = k0 + 100, seen = {clock - 3} where {condition}"
            f" and not exists (select from {table.name} as t where t.k0 = {key[0] + 100})".encode(),
            key,
        )
        return
    seen = {"put late": clock - 5, "put without a cursor": None}.get(what, clock)
    marks = ", ".join(["%s"] * len(names))
    updates = ", ".join(f"{name} = excluded.{name}" for name in names if name not in table.key)
    source.execute(
        f"insert into {table.name} values ({marks}) "
        f"on conflict ({', '.join(table.key)}) do update set {updates}".encode(),
        [*key, *values, seen],
    )
