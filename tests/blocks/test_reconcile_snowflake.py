"""The SQL that Snowflake would be given: parsed, never run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import pytest
import sqlfluff

from blocks import reconciliations, repairs
from blocks.canonical_text import ColumnPair
from blocks.compared_table import Bounds, ComparedTable
from blocks.comparison import Examined
from blocks.merged_rows import find_raw_table
from blocks.postgres_catalog import SourceTable
from blocks.postgres_types import SourceColumn
from blocks.reconcile import dialect_of
from blocks.reconciliations import Reconciliation
from blocks.warehouse_dialects import SNOWFLAKE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AIRBYTES = [
    ("_AIRBYTE_RAW_ID", "VARCHAR(16777216)"),
    ("_AIRBYTE_EXTRACTED_AT", "TIMESTAMP_TZ(9)"),
    ("_AIRBYTE_META", "VARIANT"),
    ("_AIRBYTE_GENERATION_ID", "NUMBER(38,0)"),
]
# The source's type and what Airbyte's destination makes of it.
COLUMNS = {
    "id": ("int4", "N", "NUMBER(38,0)"),
    "name": ("text", "S", "VARCHAR(16777216)"),
    "price": ("numeric", "N", "NUMBER(38,9)"),
    "rate": ("float8", "N", "FLOAT"),
    "valid": ("bool", "B", "BOOLEAN"),
    "day": ("date", "D", "DATE"),
    "hour": ("time", "D", "TIME(9)"),
    "made": ("timestamp", "D", "TIMESTAMP_NTZ(9)"),
    "seen": ("timestamptz", "D", "TIMESTAMP_TZ(9)"),
}


@dataclass
class Recorder:
    """A warehouse that knows two tables and remembers what it is told."""

    tables: dict[str, list[tuple[str, str]]]
    told: list[str] = field(default_factory=list)
    answer: list[Any] = field(default_factory=list)

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> Self:
        self.told.append(query)
        self.answer = []
        for name, columns in self.tables.items():
            if "information_schema.columns" in query and f"upper('{name}')" in query:
                self.answer = [("RAW_SHOP", name)]
            if query.startswith("describe table") and query.endswith(f'"{name}"'):
                self.answer = columns
        return self

    def fetchall(self) -> list[Any]:
        return self.answer

    def fetchmany(self, size: int, /) -> list[Any]:
        return []


def warehouse(*, repaired: bool) -> Recorder:
    columns = [(name.upper(), declared) for name, (_, _, declared) in COLUMNS.items()]
    tables = {"ORDERS": [*columns, *AIRBYTES]}
    if repaired:
        own = [("_FLOE_REPAIR_ACTION", "VARCHAR(16777216)"), ("_FLOE_REPAIRED_AT", "TIMESTAMP_TZ(9)")]
        tables["__FLOE_REPAIRS_ORDERS"] = [*columns, *AIRBYTES, *own, ("_FLOE_REPLACES", "VARCHAR(16777216)")]
    return Recorder(tables)


def compared(*, repaired: bool) -> tuple[Recorder, ComparedTable]:
    database = warehouse(repaired=repaired)
    raw = find_raw_table(database, "snowflake", "raw_shop", "ORDERS")
    assert raw is not None
    columns = [
        SourceColumn(name, kind, category, kind, None, None, name == "id")
        for name, (kind, category, _) in COLUMNS.items()
    ]
    pairs = {
        column.name: ColumnPair(column, found) for column in columns if (found := raw.column(column.name))
    }
    source = SourceTable("public", "orders", True, columns, ["id"], [["id"]])
    key, cursor = [pairs["id"], pairs["name"]], pairs["seen"]
    return database, ComparedTable(
        SNOWFLAKE, source, raw, list(pairs.values()), key, cursor, whole_rows=True, keeps_newest=True
    )


def statements(*, repaired: bool) -> list[str]:
    """Return every statement that a comparison and its repairs send to the warehouse."""
    database, table = compared(repaired=repaired)
    bounds, keys = Bounds("2026-01-01 00:00:00+00:00", "2025-01-01"), [("1", "a'\\"), ("2", "b")]
    texts = ("1", "a", "1.5", "0.1", "true", "2026-01-01", "10:00:00", "2026-01-01 10:00:00", None)
    upsert = Examined(keys[0], "missing", 1, None, "[]", texts)
    delete = Examined(keys[1], "deleted", None, "an-id", "[]", ())
    reconciliations.prepare(database)
    reconciliations.last_reads(database, SNOWFLAKE, "shop")
    reconciliations.last_comparison(database, SNOWFLAKE, "shop", "public.orders", "orders")
    reconciliations.record(
        database,
        Reconciliation(source="shop", stream="orders", compared="all", read_at=NOW, finished_at=NOW),
    )
    repairs.prepare(database, table)
    return [
        *database.told,
        table.newest_cursor(),
        table.warehouse_buckets(bounds, 10),
        table.warehouse_keys(bounds, 10, [1, 2]),
        table.warehouse_by_key(keys),
        repairs._upsert(table, [upsert], NOW),
        repairs._delete(table, [delete], NOW),
    ]


@pytest.mark.parametrize("repaired", [False, True], ids=["first repair", "later ones"])
def test_snowflake_can_parse_every_statement(repaired: bool) -> None:
    told = [sql for sql in statements(repaired=repaired) if not sql.startswith("describe")]
    assert len(told) >= 10
    for sql in told:
        # Raises APIParsingError where a part of the statement is no SQL to Snowflake.
        sqlfluff.parse(sql, dialect="snowflake")


def test_repairs_stand_beside_the_raw_table_in_its_own_case() -> None:
    _, table = compared(repaired=False)
    assert (table.raw.sql, table.raw.repairs) == ('"RAW_SHOP"."ORDERS"', '"RAW_SHOP"."__FLOE_REPAIRS_ORDERS"')
    assert dialect_of("snowflake") is SNOWFLAKE
