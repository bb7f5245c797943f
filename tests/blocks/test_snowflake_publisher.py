"""The order of statements that publish on Snowflake, on a cursor that records them.

No Snowflake can be reached where this runs, and the emulator's parser knows neither the clone of a
schema nor SWAP WITH, so what is checked here is the order: nothing readers see changes before the
one atomic swap, and everything that can fail comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from snowflake_stack import running_fakesnow

from blocks.publication import NothingToRollBack
from blocks.snowflake_publisher import DDL, SnowflakePublisher


class RecordingCursor:
    """Keeps every statement, answers queries from what it was given, fails at a chosen statement."""

    def __init__(self, answers: dict[str, list[tuple[Any, ...]]] | None = None, fail_at: str = "") -> None:
        self.statements: list[str] = []
        self._answers = answers or {}
        self._fail_at = fail_at
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str, parameters: Sequence[object] | None = None) -> None:
        if self._fail_at and statement.startswith(self._fail_at):
            raise ConnectionError(statement)
        self.statements.append(statement)
        self._rows = next((rows for part, rows in self._answers.items() if part in statement), [])

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def changes(self) -> list[str]:
        """Return the statements that change something, without the set-up of the ops tables."""
        return [s for s in self.statements if not s.startswith("select") and s not in DDL]


def test_publish_prepares_everything_then_swaps_once() -> None:
    cursor = RecordingCursor(
        {
            "TABLE_SCHEMA = 'MARTS_NEXT'": [("FCT_SALES",), ("DROPPED_MODEL",)],
            "TABLE_SCHEMA = 'MARTS'": [("FLOE_PUBLICATION",)],
            "SCHEMATA": [(1,)],
            "from MARTS.": [("id",)],
        }
    )
    SnowflakePublisher(cursor, "READER").publish("run", ["fct_sales"])
    assert [s for s in cursor.changes() if "schema" in s or "table" in s] == [
        "create or replace schema MARTS_NEXT clone BUILD",
        'drop table "MARTS_NEXT"."DROPPED_MODEL"',
        'grant usage on schema MARTS_NEXT to role "READER"',
        'grant select on all tables in schema MARTS_NEXT to role "READER"',
        # After the grants: readers do not see it.
        "create table MARTS_NEXT.FLOE_PUBLICATION as select %s as PUBLICATION_ID, %s as PUBLISHED_AT,"
        " %s as MODELS, %s as RUN",
        "create or replace schema SNAPSHOTS_NEXT clone SNAPSHOTS",
        "create schema if not exists MARTS",
        "alter schema MARTS_NEXT swap with MARTS",
        "drop schema if exists MARTS_PREVIOUS",
        "alter schema MARTS_NEXT rename to MARTS_PREVIOUS",
        "create or replace schema SNAPSHOTS_PUBLISHED clone SNAPSHOTS_NEXT",
    ]


@pytest.mark.parametrize("statement", ["create or replace schema MARTS_NEXT", "grant usage", "grant select"])
def test_a_failure_before_the_swap_leaves_the_readers_schema_alone(statement: str) -> None:
    cursor = RecordingCursor(fail_at=statement)
    with pytest.raises(ConnectionError):
        SnowflakePublisher(cursor, "READER").publish("run", ["fct_sales"])
    assert not [s for s in cursor.changes() if "swap" in s or "MARTS_PREVIOUS" in s]


@pytest.mark.parametrize("state", ["running", "failed"])
def test_begin_restores_a_build_that_failed_or_ended_without_a_word(state: str) -> None:
    cursor = RecordingCursor(
        {"STATE in": [("earlier", state)], "from OPS.PUBLICATIONS": [("id", None, "[]")]}
    )
    assert SnowflakePublisher(cursor, "READER").begin("run") == state
    assert cursor.changes()[:2] == [
        "create or replace schema BUILD clone MARTS",
        "create or replace schema SNAPSHOTS clone SNAPSHOTS_PUBLISHED",
    ]


def test_after_a_rollback_the_build_is_restored_from_the_set_published_last() -> None:
    cursor = RecordingCursor({"where IS_CURRENT": [("1", None, "[]")], "order by": [("2", None, "[]")]})
    SnowflakePublisher(cursor, "READER").restore("run")
    assert cursor.changes()[0] == "create or replace schema BUILD clone MARTS_PREVIOUS"


def test_a_failed_build_is_left_and_taken_up_without_a_change_of_the_build() -> None:
    cursor = RecordingCursor({"STATE = 'failed'": [("run",)]})
    publisher = SnowflakePublisher(cursor, "READER")
    publisher.leave("run")
    failed = publisher.failed()
    assert failed == "run"
    publisher.go_on(failed, "run")
    assert all(
        statement.split()[:2] in (["update", "OPS.BUILDS"], ["insert", "into"])
        for statement in cursor.changes()
    )
    assert len(cursor.changes()) == 3


@pytest.mark.thorough
def test_the_attempts_at_builds_are_noted_over_the_real_connector(tmp_path: Path) -> None:
    # Here, since no other test of this file needs a second for it.
    import snowflake.connector

    # What dates a table's last change is a constant in the emulator, so only that it can be asked is seen.
    with running_fakesnow(tmp_path) as port:
        connection = snowflake.connector.connect(
            account="fakesnow",
            user="FLOE",
            password="-",
            host="127.0.0.1",
            port=port,
            protocol="http",
            database="FLOE",
            schema="PUBLIC",
        )
        cursor = connection.cursor()
        publisher = SnowflakePublisher(cursor, "READER")
        assert publisher.begin("run-1") is None
        publisher.leave("run-1")
        assert publisher.failed() == "run-1"
        assert not publisher.has_new_data("run-1", {"raw_shop"})
        publisher.go_on("run-1", "run-2")
        assert publisher.failed() is None
        cursor.execute("select RUN, STATE, BEGAN_WITH from OPS.BUILDS order by RUN")
        first, second = cursor.fetchall()
        assert (first[:2], second[:2]) == (("run-1", "continued"), ("run-2", "running"))
        assert first[2] == second[2] is not None
        connection.close()


def test_rollback_without_an_earlier_set_is_refused() -> None:
    with pytest.raises(NothingToRollBack):
        SnowflakePublisher(RecordingCursor(), "READER").rollback()
