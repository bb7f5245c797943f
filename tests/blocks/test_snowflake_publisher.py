"""The order of statements that publish on Snowflake, on a cursor that records them.

No Snowflake can be reached where this runs, and the emulator's parser knows neither the clone of a
schema nor SWAP WITH, so what is checked here is the order: nothing readers see changes before the
one atomic swap, and everything that can fail comes before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from blocks.publication import NothingToRollBack
from blocks.snowflake_publisher import SnowflakePublisher


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
        return [s for s in self.statements if not s.startswith("select") and "if not exists OPS" not in s]


def test_publish_prepares_everything_then_swaps_once() -> None:
    cursor = RecordingCursor({"TABLE_SCHEMA = 'MARTS_NEXT'": [("FCT_SALES",), ("DROPPED_MODEL",)]})
    SnowflakePublisher(cursor, "READER").publish("run", ["fct_sales"])
    assert cursor.changes()[:8] == [
        "create or replace schema MARTS_NEXT clone BUILD",
        'drop table "MARTS_NEXT"."DROPPED_MODEL"',
        'grant usage on schema MARTS_NEXT to role "READER"',
        'grant select on all tables in schema MARTS_NEXT to role "READER"',
        "create schema if not exists MARTS",
        "alter schema MARTS_NEXT swap with MARTS",
        "drop schema if exists MARTS_PREVIOUS",
        "alter schema MARTS_NEXT rename to MARTS_PREVIOUS",
    ]


@pytest.mark.parametrize("statement", ["create or replace schema MARTS_NEXT", "grant usage", "grant select"])
def test_a_failure_before_the_swap_leaves_the_readers_schema_alone(statement: str) -> None:
    cursor = RecordingCursor(fail_at=statement)
    with pytest.raises(ConnectionError):
        SnowflakePublisher(cursor, "READER").publish("run", ["fct_sales"])
    assert not [s for s in cursor.changes() if "swap" in s or "MARTS_PREVIOUS" in s]


def test_begin_restores_a_build_that_ended_without_a_word() -> None:
    cursor = RecordingCursor({"STATE = 'running'": [("killed",)], "IS_CURRENT": [("id", None, "[]")]})
    assert SnowflakePublisher(cursor, "READER").begin("run") is True
    assert cursor.changes()[:2] == [
        "create or replace schema BUILD clone MARTS",
        "create or replace schema SNAPSHOTS clone SNAPSHOTS_PUBLISHED",
    ]


def test_rollback_without_an_earlier_set_is_refused() -> None:
    with pytest.raises(NothingToRollBack):
        SnowflakePublisher(RecordingCursor(), "READER").rollback()
