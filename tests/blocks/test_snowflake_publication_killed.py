"""A publication on Snowflake that is killed after any statement: the next build finds one whole set.

The schemas are those of a DuckDB, with a cursor that does there what Snowflake documents of CREATE SCHEMA ...
CLONE, SWAP WITH and RENAME; every other statement is DuckDB's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import duckdb
import pytest

from blocks.snowflake_publisher import SnowflakePublisher

DIALECT = {"%s": "?", "timestamp_tz": "timestamptz", "current_timestamp()": "current_timestamp"}
# More than a publication and a way back have.
STATEMENTS = range(40)


class Killed(BaseException):
    """The process is gone."""


class SchemaCursor:
    """Schemas that can be cloned and swapped; `left` statements work, then the process is killed."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.left: int | None = None

    def execute(self, statement: str, parameters: Sequence[object] | None = None) -> None:
        if self.left == 0:
            raise Killed
        self.left = None if self.left is None else self.left - 1
        for pattern, act in self.SCHEMA_STATEMENTS.items():
            if match := re.fullmatch(pattern, statement):
                act(self, *match.groups())
                return
        for snowflake, ours in DIALECT.items():
            statement = statement.replace(snowflake, ours)
        self.connection.execute(statement, parameters)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.connection.fetchall()

    def tables(self, schema: str) -> dict[str, list[tuple[Any, ...]]]:
        names = self.connection.execute(
            "select table_name from information_schema.tables where table_schema = ?", [schema]
        ).fetchall()
        return {name: self.connection.execute(f"from {schema}.{name}").fetchall() for (name,) in names}

    def _replace(self, schema: str) -> None:
        self._drop(schema)
        self.connection.execute(f"create schema {schema}")

    def _clone(self, schema: str, of: str) -> None:
        self._replace(schema)
        for name in self.tables(of):
            self.connection.execute(f"create table {schema}.{name} as from {of}.{name}")

    def _drop(self, schema: str) -> None:
        self.connection.execute(f"drop schema if exists {schema} cascade")

    def _rename(self, schema: str, to: str) -> None:
        self.connection.execute(f"create schema {to}")
        for name in self.tables(schema):
            self.connection.execute(f"create table {to}.{name} as from {schema}.{name}")
        self._drop(schema)

    def _swap(self, one: str, other: str) -> None:
        self._rename(one, "SWAPPING")
        self._rename(other, one)
        self._rename("SWAPPING", other)

    def _grant(self, *_: str) -> None:
        """Nobody else is there."""

    SCHEMA_STATEMENTS = {  # noqa: RUF012
        r"create or replace schema (\w+)": _replace,
        r"create or replace schema (\w+) clone (\w+)": _clone,
        r"drop schema if exists (\w+)": _drop,
        r"alter schema (\w+) rename to (\w+)": _rename,
        r"alter schema (\w+) swap with (\w+)": _swap,
        r"grant (.*)": _grant,
    }


def build(cursor: SchemaCursor, number: int) -> None:
    """Write what dbt would: a mart, a staging table, history."""
    for table in ("BUILD.FCT", "BUILD.STG", "SNAPSHOTS.SNP"):
        cursor.connection.execute(f"create or replace table {table} as select {number} as number")


@pytest.fixture
def cursor() -> SchemaCursor:
    """Two sets are published, and a third is built."""
    made = SchemaCursor()
    for name in ("BUILD", "SNAPSHOTS"):
        made.connection.execute(f"create schema {name}")
    for number in (1, 2):
        publisher = SnowflakePublisher(made, "READER")
        publisher.begin(f"run {number}")
        build(made, number)
        publisher.publish(f"run {number}", ["fct"])
    SnowflakePublisher(made, "READER").begin("run 3")
    build(made, 3)
    return made


def seen(cursor: SchemaCursor, schema: str, table: str) -> int:
    [(number,)] = cursor.tables(schema)[table]
    return int(number)


@pytest.mark.parametrize("statements", STATEMENTS)
def test_after_a_kill_the_next_build_begins_with_the_set_and_history_that_were_published_last(
    cursor: SchemaCursor, statements: int
) -> None:
    publisher = SnowflakePublisher(cursor, "READER")
    cursor.left = statements
    with suppress(Killed):
        publisher.publish("run 3", ["fct"])
    cursor.left = None
    # Readers have the old set or the new one, whole.
    published = seen(cursor, "MARTS", "FCT")
    assert set(cursor.tables("MARTS")) == {"FCT", "FLOE_PUBLICATION"}
    again = SnowflakePublisher(cursor, "READER")
    again.begin("run 4")
    assert seen(cursor, "MARTS", "FCT") == published
    assert seen(cursor, "MARTS_PREVIOUS", "FCT") == published - 1
    assert (seen(cursor, "BUILD", "FCT"), seen(cursor, "SNAPSHOTS", "SNP")) == (published, published)
    current = again.current()
    assert current is not None
    [(publication_id, *_)] = cursor.tables("MARTS")["FLOE_PUBLICATION"]
    assert current.publication_id == publication_id
    assert again.rollback().publication_id != publication_id
    assert seen(cursor, "MARTS", "FCT") == published - 1


@pytest.mark.parametrize("statements", range(6))
def test_after_a_kill_within_a_rollback_the_next_build_begins_with_the_set_published_last(
    cursor: SchemaCursor, statements: int
) -> None:
    publisher = SnowflakePublisher(cursor, "READER")
    cursor.left = statements
    with suppress(Killed):
        publisher.rollback()
    cursor.left = None
    shown = seen(cursor, "MARTS", "FCT")
    again = SnowflakePublisher(cursor, "READER")
    again.begin("run 4")
    assert seen(cursor, "MARTS", "FCT") == shown
    assert (seen(cursor, "BUILD", "FCT"), seen(cursor, "SNAPSHOTS", "SNP")) == (2, 2)
