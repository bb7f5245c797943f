"""Changing schemas, and tables that cannot be replicated as declared: named at once, nothing written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airbyte_engine import Engine, open_engine
from tests.conftest import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("schemas")) as engine:
        yield engine


@pytest.fixture
def table(engine: Engine) -> str:
    """Two orders, replicated."""
    name = f"orders_{next(_numbers)}"
    engine.source.execute(
        f"create table {name} (id int primary key, amount numeric(7,2), changed int);"
        f"insert into {name} values (1, 10, 1), (2, 20, 2)".encode()
    )
    engine.sync(name, cursor="changed", key=["id"])
    return name


def change(engine: Engine, table: str, what: str) -> None:
    engine.source.execute(f"alter table {table} {what}".encode())


def deduped(engine: Engine, table: str, **how: Any) -> tuple[int, int]:
    """Sync by key and change time; return rows read and written."""
    done = engine.sync(table, cursor="changed", key=["id"], **how)
    return done.emitted, done.committed


def refusal(engine: Engine, table: str, mode: str = "incremental_deduped_history", **how: Any) -> str:
    """Sync something that cannot be synced; return the reason."""
    failures, done = engine.attempt(table, mode, **how)
    assert done is None
    (failure,) = failures
    assert (failure.origin, failure.failure_type) == ("source", "config_error")
    return failure.message


def test_a_new_column_is_added_and_filled_for_new_and_changed_rows(engine: Engine, table: str) -> None:
    change(engine, table, "add column note text default 'hello'")
    engine.source.execute(f"insert into {table} values (3, 30, 3)".encode())

    assert deduped(engine, table) == (2, 2)
    assert engine.rows(table, "id, note") == [(1, None), (2, "hello"), (3, "hello")]


def test_a_new_column_is_ignored_if_the_connection_says_so(engine: Engine, table: str) -> None:
    change(engine, table, "add column note text default 'hello'")
    engine.source.execute(f"insert into {table} values (3, 30, 3)".encode())

    assert deduped(engine, table, schema_updates="ignore") == (2, 1)
    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 20), (3, 30)]
    assert len(engine.rows(table)[0]) == 3


def test_a_new_column_that_the_connection_names_is_not_ignored(engine: Engine, table: str) -> None:
    change(engine, table, "add column seen int default 7")

    assert engine.sync(table, cursor="seen", key=["id"], schema_updates="ignore").committed == 2
    assert engine.rows(table, "id, seen") == [(1, 7), (2, 7)]


@pytest.mark.parametrize("schema_updates", ["propagate_columns", "ignore"])
def test_a_lost_column_stays_and_later_rows_have_null(
    engine: Engine, table: str, schema_updates: str
) -> None:
    change(engine, table, "drop column amount")
    engine.source.execute(f"insert into {table} values (3, 3)".encode())

    # The row at the boundary is read again, and has not changed.
    assert deduped(engine, table, schema_updates=schema_updates) == (2, 1)
    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 20), (3, None)]
    engine.source.execute(f"update {table} set changed = 4 where id = 1".encode())
    assert deduped(engine, table, schema_updates=schema_updates) == (2, 1)
    assert engine.rows(table, "id, amount::int") == [(1, None), (2, 20), (3, None)]


def test_a_renamed_column_is_a_lost_and_a_new_one(engine: Engine, table: str) -> None:
    change(engine, table, "rename column amount to price")
    engine.source.execute(f"insert into {table} values (3, 30, 3)".encode())

    assert deduped(engine, table) == (2, 2)
    assert engine.rows(table, "id, amount::int, price::int") == [(1, 10, None), (2, None, 20), (3, None, 30)]


@pytest.mark.parametrize("mode", ["full_refresh_overwrite", "full_refresh_append"])
def test_a_lost_column_in_full_refreshes(engine: Engine, mode: str) -> None:
    table = f"whole_{next(_numbers)}"
    engine.source.execute(
        f"create table {table} (id int, v text); insert into {table} values (1, 'a')".encode()
    )
    engine.sync(table, mode)
    change(engine, table, "drop column v")

    assert engine.sync(table, mode).committed == 1
    kept = [(1, "a")] if mode == "full_refresh_append" else []
    assert sorted(engine.rows(table), key=str) == [*kept, (1, None)]


def test_a_lost_column_that_comes_back_is_filled_again(engine: Engine, table: str) -> None:
    change(engine, table, "drop column amount")
    deduped(engine, table)
    change(engine, table, "add column amount numeric(7,2) default 5")
    engine.source.execute(f"insert into {table} (id, changed) values (3, 3)".encode())

    deduped(engine, table)

    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 5), (3, 5)]


def test_a_name_that_changed_its_case_is_the_same_column(engine: Engine, table: str) -> None:
    change(engine, table, 'rename column amount to "Amount"')
    engine.source.execute(f"insert into {table} values (3, 30, 3)".encode())

    assert deduped(engine, table) == (2, 1)
    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 20), (3, 30)]


@pytest.mark.parametrize(
    ("what", "message", "schema_updates", "pauses"),
    [
        (
            "alter column amount type numeric(9,3)",
            "amount was DECIMAL(7,2) and is DECIMAL(9,3) now",
            "",
            False,
        ),
        ("drop column changed", "primary key or cursor column changed is gone from the source", "", True),
        ("drop column id", "primary key or cursor column id is gone from the source", "", True),
        ("drop column amount", "column amount is gone", "disable_connection", True),
        ("add column v int", "column v is new in the source", "disable_connection", True),
        (
            "alter column amount type int",
            "amount was DECIMAL(7,2) and is INTEGER",
            "disable_connection",
            True,
        ),
    ],
)
def test_a_change_that_stops_the_sync_is_named(
    engine: Engine, table: str, what: str, message: str, schema_updates: str, pauses: bool
) -> None:
    before = engine.rows(table)
    change(engine, table, what)

    how: dict[str, Any] = {"schema_updates": schema_updates} if schema_updates else {}
    failures, done = engine.attempt(table, cursor="changed", key=["id"], **how)

    assert done is None
    (failure,) = failures
    assert (failure.origin, failure.failure_type) == ("source", "config_error")
    assert message in failure.message
    assert failure.pauses_connection is pauses
    assert engine.rows(table) == before


def test_a_lost_key_or_cursor_is_no_matter_where_it_is_not_used(engine: Engine, table: str) -> None:
    change(engine, table, "drop column changed, drop column id")
    how: dict[str, Any] = {"cursor": "changed", "key": ["id"]}
    assert engine.sync(table, "full_refresh_append", **how).committed == 2


def test_a_table_that_is_gone_is_named(engine: Engine) -> None:
    reason = refusal(engine, "nowhere", "full_refresh_overwrite")
    assert reason == "Stream public.nowhere: there is no such table in the source"


def test_a_null_in_the_key_is_refused(engine: Engine) -> None:
    engine.source.execute(
        "create table keyless (k int, at int); insert into keyless values (null, 1), (1, 1)"
    )
    reason = refusal(engine, "keyless", cursor="at", key=["k"])
    assert reason == "Stream public.keyless: 1 rows have NULL in the primary key ['k']"


@pytest.mark.parametrize(
    ("declared", "value"),
    [("date", "infinity"), ("timestamptz", "0044-03-15 BC"), ("numeric(7,2)", "NaN"), ("time", "24:00")],
)
def test_a_key_that_would_be_null_in_the_lake_is_refused(engine: Engine, declared: str, value: str) -> None:
    """Two such rows would be one there, or one of them would come again with every sync."""
    table = f"temporal_{next(_numbers)}"
    engine.source.execute(
        f"create table {table} (id int, valid_to {declared}, at int, primary key (id, valid_to));"
        f"insert into {table} values (1, '{value}', 1)".encode()
    )
    reason = refusal(engine, table, cursor="at", key=["id", "valid_to"])
    assert "1 rows have NaN, infinity" in reason
    assert "in the primary key ['id', 'valid_to']" in reason
    assert engine.sync(table, "full_refresh_overwrite", key=["id", "valid_to"]).committed == 1


@pytest.mark.parametrize(
    ("declared", "before", "after"),
    [("numeric", "1.0", "1.00"), ("numeric(50,5)", "2", "2.00000"), ("interval", "1 day", "24 hours")],
)
def test_equal_keys_of_different_looks_are_one_key(
    engine: Engine, declared: str, before: str, after: str
) -> None:
    table = f"looks_{next(_numbers)}"
    engine.source.execute(f"create table {table} (k {declared} primary key, at int)".encode())
    engine.source.execute(f"insert into {table} values ('{before}', 1)".encode())
    engine.sync(table, cursor="at", key=["k"])
    engine.source.execute(f"update {table} set k = '{after}', at = 2".encode())

    engine.sync(table, cursor="at", key=["k"])

    assert engine.rows(table, '"at"') == [(2,)]


@pytest.mark.parametrize("declared", ["int[]", "jsonb", "numrange", "point"])
def test_a_key_whose_equality_the_lake_cannot_tell_is_refused(engine: Engine, declared: str) -> None:
    table = f"unequal_{next(_numbers)}"
    engine.source.execute(f"create table {table} (k {declared} not null, at int)".encode())
    reason = refusal(engine, table, cursor="at", key=["k"])
    column = declared if declared != "int[]" else "integer[]"
    assert reason.endswith(f"the key column k is {column}, whose equal values can look unequal")


@pytest.mark.parametrize("declared", ["uuid", "boolean", "jsonb", "bytea", "int[]"])
def test_a_cursor_without_a_largest_value_is_refused(engine: Engine, declared: str) -> None:
    table = f"unordered_{next(_numbers)}"
    engine.source.execute(f"create table {table} (id int primary key, c {declared})".encode())
    assert "which has no largest value" in refusal(engine, table, cursor="c", key=["id"])
    assert "which has no largest value" in refusal(engine, table, "incremental_append", cursor="c")
    engine.sync(table, "full_refresh_overwrite", cursor="c", key=["id"])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ('id int, "Id" int', "the columns id and Id differ in case only, they would be one"),
        ("_airbyte_rank int", "the column _airbyte_rank has the name of one of Airbyte's own columns"),
        ('"_AIRBYTE_META" int', "the column _AIRBYTE_META has the name of one of Airbyte's own columns"),
    ],
)
def test_columns_that_cannot_stand_in_the_lake_are_refused(engine: Engine, columns: str, reason: str) -> None:
    table = f"names_{next(_numbers)}"
    engine.source.execute(f"create table {table} (v int, {columns})".encode())
    assert refusal(engine, table, "full_refresh_overwrite").endswith(reason)
    engine.sync(table, "full_refresh_overwrite", selected=["v"])


def test_a_table_that_may_not_be_read_is_refused(engine: Engine) -> None:
    table = f"secret_{next(_numbers)}"
    engine.source.execute(
        f"""
        create role {table}_reader;
        create table {table} (id int);
        create view {table}_view as select * from {table};
        alter view {table}_view owner to {table}_reader;
        """.encode()
    )
    reason = refusal(engine, f"{table}_view", "full_refresh_overwrite")
    assert f"permission denied for table {table}" in reason
