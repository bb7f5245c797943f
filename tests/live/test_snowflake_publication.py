"""Publishing on a real Snowflake account.

Set FLOE_LIVE_SNOWFLAKE to a JSON object with the fields of `blocks.settings.SnowflakeSettings`. The
database must be a scratch one: its schemas BUILD, SNAPSHOTS, MARTS* and OPS are replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from blocks.settings import SnowflakeSettings
from blocks.warehouse import Cursor, Warehouse

VARIABLE = "FLOE_LIVE_SNOWFLAKE"
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} is not set"),
]


@pytest.fixture
def warehouse() -> Warehouse:
    """The account that the variable names."""
    return Warehouse(target=SnowflakeSettings.model_validate_json(os.environ[VARIABLE]))


@pytest.fixture
def cursor(warehouse: Warehouse) -> Iterator[Cursor]:
    """A cursor on an empty build."""
    with warehouse.connect() as open_cursor:
        for schema in ("BUILD", "SNAPSHOTS"):
            open_cursor.execute(f"create or replace schema {schema}")
        for schema in ("MARTS", "MARTS_PREVIOUS", "MARTS_NEXT", "OPS"):
            open_cursor.execute(f"drop schema if exists {schema}")
        yield open_cursor


def amounts(cursor: Cursor, schema: str) -> list[int]:
    """Read the one mart of a schema."""
    cursor.execute(f"select AMOUNT from {schema}.FCT_SALES order by 1")
    return [row[0] for row in cursor.fetchall()]


def test_publish_restore_and_rollback(warehouse: Warehouse, cursor: Cursor) -> None:
    cursor.execute("create table BUILD.FCT_SALES as select 1 as AMOUNT")
    with warehouse.publisher() as publisher:
        publisher.begin("run-1")
        publisher.publish("run-1", ["fct_sales"])
        publisher.begin("run-2")
        cursor.execute("insert into BUILD.FCT_SALES values (2)")
        assert amounts(cursor, "MARTS") == [1]
        publisher.restore("run-2")
        assert amounts(cursor, "BUILD") == [1]
        cursor.execute("insert into BUILD.FCT_SALES values (3)")
        publisher.publish("run-3", ["fct_sales"])
        assert amounts(cursor, "MARTS") == [1, 3]
        publisher.rollback()
        assert amounts(cursor, "MARTS") == [1]


def test_a_failed_build_is_left_and_new_data_are_noticed(warehouse: Warehouse, cursor: Cursor) -> None:
    cursor.execute("create or replace schema RAW_SCRATCH")
    cursor.execute("create table RAW_SCRATCH.ORDERS as select 1 as ID")
    with warehouse.publisher() as publisher:
        publisher.begin("run-1")
        publisher.leave("run-1")
        assert publisher.failed() == "run-1"
        assert not publisher.has_new_data("run-1", {"raw_scratch"})
        publisher.go_on("run-1", "run-2")
        publisher.leave("run-2")
        cursor.execute("insert into RAW_SCRATCH.ORDERS values (2)")
        assert publisher.has_new_data("run-2", {"raw_scratch"})
        assert publisher.begin("run-3") == "failed"
    cursor.execute("drop schema RAW_SCRATCH")
