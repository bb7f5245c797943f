"""kill -9 at every statement of a build and its publication: readers see a whole set, old or new."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from blocks.ducklake_publisher import DuckLakePublisher
from lambda_csv_loader.ducklake import DuckLakeSettings, connect

pytestmark = pytest.mark.chaos

ROOT = Path(__file__).parents[2]
# A transform as it uses the publisher, which dies at the n-th statement, before or after it is executed.
BUILD = """
import os, sys
from blocks.ducklake_publisher import DuckLakePublisher
from lambda_csv_loader.ducklake import DuckLakeSettings, connect

lake, number, when, end = DuckLakeSettings.model_validate_json(sys.argv[1]), *sys.argv[2:]

class Mortal:
    def __init__(self, inner):
        self.inner, self.left = inner, int(number)
    def __getattr__(self, name):
        return getattr(self.inner, name)
    def execute(self, statement):
        self.left -= 1
        if self.left == 0 and when == "before":
            os.kill(os.getpid(), 9)
        result = self.inner.execute(statement)
        if self.left == 0:
            os.kill(os.getpid(), 9)
        return result

cursor = Mortal(connect(lake))
publisher = DuckLakePublisher(cursor)
publisher.begin("second")
for table in ("build.sales", "build.stock", "snapshots.customers"):
    cursor.execute(f"insert into {table} values (2)")
if end == "retry":
    publisher.leave("second")
    assert publisher.failed() == "second" and not publisher.has_new_data("second", {"raw_shop"})
    publisher.go_on("second", "second")
cursor.execute("create or replace table build.returns as select 2 as n")
if end == "restore":
    publisher.restore("second")
else:
    publisher.publish("second", ["sales", "stock", "returns"])
"""
OLD, NEW = {"sales": [1], "stock": [1], "old": [1]}, {"sales": [1, 2], "stock": [1, 2], "returns": [2]}


def shown(lake: DuckLakeSettings) -> dict[str, list[int]]:
    """Return what a reader sees: every mart with its rows."""
    with connect(lake, read_only=True) as reader:
        names = reader.execute("select view_name from duckdb_views() where schema_name = 'marts'").fetchall()
        return {
            name: [n for (n,) in reader.execute(f"select n from marts.{name} order by n").fetchall()]
            for (name,) in names
        }


def built(connection: duckdb.DuckDBPyConnection) -> dict[str, list[int]]:
    """Return what the next build starts from, history among it."""
    tables = connection.execute(
        "select schema_name || '.' || table_name, table_name from duckdb_tables() "
        "where schema_name in ('build', 'snapshots')"
    ).fetchall()
    return {
        name: [n for (n,) in connection.execute(f"select n from {table} order by n").fetchall()]
        for table, name in tables
    }


@pytest.mark.parametrize("end", ["publish", "restore", "retry"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_readers_see_a_whole_set_and_the_next_build_starts_from_it(
    new_lake: Callable[[], DuckLakeSettings], when: str, end: str
) -> None:
    ends: list[dict[str, list[int]]] = []
    for number in itertools.count(1):
        lake = new_lake()
        with connect(lake) as connection:
            connection.execute(
                "create schema build; create schema snapshots; create table build.sales as select 1 as n;"
                "create table build.stock as select 1 as n; create table build.old as select 1 as n;"
                "create table snapshots.customers as select 1 as n"
            )
            DuckLakePublisher(connection).publish("first", ["sales", "stock", "old"])
        killed = subprocess.run(
            [sys.executable, "-c", BUILD, lake.model_dump_json(), str(number), when, end],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert killed.returncode in (0, -9), killed.stderr
        seen = shown(lake)
        ends.append(seen)
        assert seen in (OLD, NEW)
        with connect(lake) as connection:
            DuckLakePublisher(connection).begin("third")
            history = built(connection).pop("customers")
            rest = {name: rows for name, rows in built(connection).items() if name != "customers"}
        assert (rest, history) == (({**NEW, "old": [1]}, [1, 2]) if seen == NEW else (OLD, [1]))
        if killed.returncode == 0:
            break
    assert ends[-1] == (OLD if end == "restore" else NEW)
    assert number > 15
