"""What is found otherwise in a source, who stops at it, and what is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import psycopg
import pytest
from pydantic import SecretStr

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_streams import ReplicatedStream, SchemaChanges
from blocks.errors import PermanentError, ServiceUnavailable
from blocks.postgres_catalog import SourceTable
from blocks.postgres_types import SourceColumn
from blocks.schema_drift import RememberedColumn, SchemaChange, SourceSchemaChanged, compare, refuse
from blocks.schema_memory import inspect, remember
from blocks.source_database import SourceDatabase
from tests.conftest import Cluster

STREAM = ReplicatedStream(
    namespace="public",
    name="customer",
    raw_schema="raw_crm",
    raw_table="customer",
    sync_mode="incremental_deduped_history",
    primary_key=("id", "part"),
    cursor="changed",
)
COLUMNS = {"id": "integer", "part": "integer", "changed": "timestamp", "note": "text"}
MEMORY = [RememberedColumn(name, kind, at) for at, (name, kind) in enumerate(COLUMNS.items(), 1)]
PLACE = ("public", "customer")


def table(
    columns: dict[str, str] | None = None,
    keys: Sequence[Sequence[str]] = (("id", "part"),),
    kind: str = "r",
    moved: Sequence[str] = (),
) -> SourceTable:
    made = [
        SourceColumn(name, declared, "X", declared, None, None, True, 9 if name in moved else at)
        for at, (name, declared) in enumerate((columns or COLUMNS).items(), 1)
    ]
    return SourceTable(*PLACE, kind == "r", made, [], [list(key) for key in keys], kind)


def renamed(old: str, new: str) -> dict[str, str]:
    return {new if name == old else name: kind for name, kind in COLUMNS.items()}


def without(column: str) -> dict[str, str]:
    return {name: kind for name, kind in COLUMNS.items() if name != column}


@pytest.mark.parametrize(
    ("now", "kind", "critical", "words"),
    [
        (table({**COLUMNS, "new": "text"}), "added", False, "column new (text) is new"),
        (table(without("note")), "dropped", False, "column note is gone from the source"),
        (table(renamed("note", "memo")), "renamed", False, "column note is now called memo"),
        (table({**COLUMNS, "note": "integer"}), "retyped", False, "column note was text, is integer"),
        (
            table(renamed("part", "share"), [["id", "share"]]),
            "renamed",
            True,
            "of the key is now called",
        ),
        (table(without("part"), [["id"]]), "dropped", True, "column part of the key is gone from the source"),
        (table({**COLUMNS, "id": "uuid"}), "retyped", True, "column id of the key was integer, is uuid"),
        (table(renamed("changed", "at")), "renamed", True, "column changed, the cursor, is now called at"),
        (table({**COLUMNS, "changed": "text"}), "retyped", True, "column changed, the cursor, was timestamp"),
        (
            table(keys=[]),
            "unkeyed",
            True,
            "no valid unique index, on columns that are not null",
        ),
        (table(keys=[["id", "part", "note"]]), "unkeyed", True, "keeps the key (id, part) unique"),
        (None, "gone", True, "the table is gone from the source"),
    ],
    ids=[
        "new column",
        "dropped column",
        "renamed column",
        "retyped column",
        "renamed key",
        "dropped key",
        "retyped key",
        "renamed cursor",
        "retyped cursor",
        "no key any more",
        "a wider key only",
        "no table",
    ],
)
def test_what_is_otherwise_is_named(now: SourceTable | None, kind: str, critical: bool, words: str) -> None:
    (change,) = compare([STREAM], {PLACE: now} if now else {}, {PLACE: MEMORY})
    assert (change.kind, change.critical, change.stream) == (kind, critical, "public.customer")
    assert words in change.what


@pytest.mark.parametrize(
    ("stream", "now"),
    [
        ({}, table()),
        ({}, table(keys=[["id"]])),
        ({}, table(keys=[], kind="v")),
        ({"columns": ("id", "part", "changed")}, table({**without("note"), "new": "text"})),
        ({"columns": ("id", "part", "changed")}, table({**COLUMNS, "note": "integer"})),
    ],
    ids=["nothing", "a narrower key", "a view has no keys", "not selected", "retyped, not selected"],
)
def test_what_does_not_concern_the_stream_is_no_change(stream: dict[str, Any], now: SourceTable) -> None:
    assert compare([STREAM.model_copy(update=stream)], {PLACE: now}, {PLACE: MEMORY}) == []


def test_another_column_in_place_of_a_dropped_one_is_not_taken_for_a_new_name() -> None:
    now = table({**without("note"), "memo": "text"}, moved=["memo"])
    found = compare([STREAM], {PLACE: now}, {PLACE: MEMORY})
    assert [change.kind for change in found] == ["dropped", "added"]


def test_the_first_time_only_the_declaration_is_compared() -> None:
    assert compare([STREAM], {PLACE: table({**COLUMNS, "new": "text"})}, {}) == []
    chosen = STREAM.model_copy(update={"columns": ("id", "part", "changed", "missing")})
    found = compare([chosen], {PLACE: table(without("changed"))}, {})
    assert [(change.kind, change.column) for change in found] == [
        ("dropped", "changed"),
        ("dropped", "missing"),
    ]


ADDED = SchemaChange("public.customer", "new", "added", "column new is new", False)
DROPPED = SchemaChange("public.customer", "note", "dropped", "column note is gone", False)
KEYLESS = SchemaChange("public.customer", None, "unkeyed", "nothing keeps the key", True)


@pytest.mark.parametrize(
    ("policy", "change", "stops"),
    [
        ({}, ADDED, False),
        ({}, DROPPED, False),
        ({}, KEYLESS, True),
        ({"columns": "fail"}, ADDED, False),
        ({"columns": "fail"}, DROPPED, True),
        ({"columns": "ignore"}, DROPPED, False),
        ({"key_and_cursor": "propagate"}, KEYLESS, False),
        ({"key_and_cursor": "ignore"}, KEYLESS, False),
        ({"columns": "fail", "key_and_cursor": "ignore"}, KEYLESS, False),
    ],
)
def test_the_policy_decides_what_stops_a_sync(
    policy: dict[str, Any], change: SchemaChange, stops: bool
) -> None:
    if not stops:
        refuse("crm", [change], SchemaChanges(**policy))
        return
    with pytest.raises(SourceSchemaChanged) as raised:
        refuse("crm", [ADDED, change], SchemaChanges(**policy))
    assert raised.value.what == f"The source of crm has changed: public.customer: {change.what}"
    assert isinstance(raised.value, PermanentError)
    assert raised.value.state == "no sync was started; the raw tables are as they were"
    assert "floe connections check --accept" in str(raised.value.next_command)


CONNECTION = AirbyteConnection(
    server=AirbyteServer(server_url="http://127.0.0.1:1", token="t"),
    connection_id="c",
    name="crm",
    destination_schema="raw_crm",
    streams=(STREAM.model_copy(update={"primary_key": ("id",)}),),
)


def source_of(cluster: Cluster, database: str) -> SourceDatabase:
    return SourceDatabase(
        host="127.0.0.1",
        port=cluster.port,
        database=database,
        user="floe",
        password=SecretStr(cluster.password),
    )


def test_a_real_source_is_compared_with_what_is_remembered_of_it(
    cluster: Cluster, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    database = cluster.create_database("drift")
    source = source_of(cluster, database)
    with cluster.connect(database) as owner:
        owner.execute("create table customer (id int primary key, changed timestamp, note text, old text)")

        first = inspect(source, CONNECTION, lake_connection)
        assert first.changes == []
        remember(lake_connection, first.memory)
        # A source that is as it was costs the warehouse nothing.
        assert inspect(source, CONNECTION, lake_connection).memory == []

        owner.execute("alter table customer rename column note to memo")
        owner.execute("alter table customer drop column old, add column fresh varchar(9)")
        owner.execute("alter table customer drop constraint customer_pkey")
        owner.execute("create unique index partial on customer (id) where id > 5")
        changed = inspect(source, CONNECTION, lake_connection)
        assert [(change.kind, change.column) for change in changed.changes] == [
            ("renamed", "note"),
            ("dropped", "old"),
            ("unkeyed", None),
            ("added", "fresh"),
        ]
        owner.execute("create unique index whole on customer (id)")
        remember(lake_connection, changed.memory)
        assert inspect(source, CONNECTION, lake_connection).changes == []
    rows = lake_connection.execute(
        "select column_name, declared_type from ops.source_columns order by position"
    )
    assert rows.fetchall() == [
        ("id", "integer"),
        ("changed", "timestamp without time zone"),
        ("memo", "text"),
        ("fresh", "character varying(9)"),
    ]


def test_a_source_is_never_written_and_its_password_never_shown(cluster: Cluster) -> None:
    source = source_of(cluster, cluster.create_database("drift"))
    with source.connect() as database, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        database.execute("create table t (id int)")
    wrong = source.model_copy(update={"password": SecretStr("not-the-password")})
    with pytest.raises(ServiceUnavailable, match="cannot be read") as raised:
        wrong.connect()
    assert "not-the-password" not in str(raised.value)
