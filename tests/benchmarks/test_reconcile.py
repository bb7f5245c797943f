"""Reconciling an unchanged table takes no longer than syncing it, and little memory whatever its size.

pytest -m bench -s tests/benchmarks/test_reconcile.py        1 million rows
BENCH_RECONCILE_ROWS=5000000 pytest -m bench -s ...               5 million
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocks.reconcile import Sides
from tests.airbyte_engine import Engine, open_engine
from tests.conftest import Cluster
from tests.reconciling import Table, open_sides

pytestmark = pytest.mark.bench

ROWS = int(os.environ.get("BENCH_RECONCILE_ROWS", "1000000"))
ROUNDS = 3
COLUMNS = """
    item int, order_number bigint, customer int, address int, warehouse int, promotion int, ship_mode int,
    price numeric(7,2), cost numeric(7,2), tax numeric(7,2), profit numeric(12,2), rate numeric,
    sold date, note text, code text, paid boolean, updated_at timestamptz, primary key (item, order_number)
"""
FILL = """
    select i % 20000, i, i % 99991, i % 50000, i % 20, i % 1000, i % 7,
        (i % 10000) / 7.0, (i % 10000) / 9.0, (i % 1000) / 11.0, (i % 100000) / 3.0 - 9999, i / 7.0,
        date '2000-01-01' + (i % 2000)::int, 'note ' || i, md5(i::text), i % 2 = 0,
        timestamptz '2020-01-01' + i * interval '0.1 second' from generate_series(1, {rows}::bigint) i
"""


@pytest.fixture
def engine(cluster: Cluster, extension_directory: Path, tmp_path: Path) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path) as engine:
        yield engine


@pytest.fixture
def sides(engine: Engine) -> Iterator[Sides]:
    with open_sides(engine) as sides:
        yield sides


def median(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median seconds of some rounds."""
    seconds = []
    for _ in range(rounds):
        started = time.monotonic()
        work()
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds)


def test_reconciling_unchanged_rows_takes_no_longer_than_one_full_sync(engine: Engine, sides: Sides) -> None:
    engine.source.execute(f"create table sales ({COLUMNS})".encode())
    engine.source.execute(f"insert into sales {FILL.format(rows=ROWS)}".encode())
    engine.source.execute("vacuum analyze sales")
    key = ["item", "order_number"]
    table = Table(sides, engine, "sales", key, "updated_at")

    def full_sync() -> None:
        engine.lake.execute("drop table if exists raw_test.sales")
        engine.sync("sales", cursor="updated_at", key=key)

    synced = median(full_sync)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    by_key = median(lambda: table.found() == {} or pytest.fail("differences"))
    table.policy["compare"] = "all"
    by_row = median(lambda: table.found() == {} or pytest.fail("differences"))
    engine.source.execute("delete from sales where order_number % 10007 = 0")
    engine.source.execute("update sales set price = 0 where order_number % 10009 = 0")
    started = time.monotonic()
    found = table.found()
    repaired = time.monotonic() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    sys.stdout.write(
        f"\n{ROWS:,} rows: full sync {synced:.2f} s, reconcile keys {by_key:.2f} s, "
        f"all columns {by_row:.2f} s, with {found} {repaired:.2f} s; memory grew by {grown} MB\n"
    )
    assert found["repaired"] == found["deleted"] + found["stale"] > 0
    assert by_key <= synced
    assert grown < 700
