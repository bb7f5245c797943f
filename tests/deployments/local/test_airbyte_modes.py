"""The four sync modes, cursors, keys and changing schemas, against the source's own rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.airbyte_engine import Engine, open_engine
from tests.airbyte_service import make_parking, parked, until
from tests.conftest import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("modes")) as engine:
        yield engine


@pytest.fixture
def table(engine: Engine) -> str:
    """A table of its own: orders with a change time."""
    name = f"orders_{next(_numbers)}"
    engine.source.execute(
        f"create table {name} (id int primary key, amount numeric(7,2), changed timestamptz)".encode()
    )
    return name


def put(engine: Engine, table: str, *rows: tuple[object, ...]) -> None:
    """Insert or update rows (id, amount, day of June 2003 or NULL)."""
    with engine.source.cursor() as cursor:
        cursor.executemany(
            f"insert into {table} values (%s, %s, timestamptz '2003-06-01' + %s::int * interval '1 day') "
            "on conflict (id) do update set amount = excluded.amount, changed = excluded.changed".encode(),
            rows,
        )


def deduped(engine: Engine, table: str, **how: object) -> tuple[int, int]:
    """Sync by key and change time; return rows read and written."""
    done = engine.sync(table, cursor="changed", key=["id"], **how)
    return done.emitted, done.committed


def same(engine: Engine, table: str) -> bool:
    return engine.rows(table, "id, amount, changed::varchar") == engine.origin(
        table, "id, amount, changed::text"
    )


def test_deduped_reads_the_boundary_again_and_writes_only_what_changed(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2), (3, 30, 2))
    assert deduped(engine, table) == (3, 3)
    put(engine, table, (1, 11, 3), (4, 40, 3))

    # The two rows at the old boundary (day 2) are read once more, and left alone.
    assert deduped(engine, table) == (4, 2)
    assert same(engine, table)


def test_a_row_that_changed_at_the_boundary_without_a_newer_cursor_is_written(
    engine: Engine, table: str
) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2), (3, 30, 2))
    deduped(engine, table)
    put(engine, table, (2, 21, 2), (5, 50, 2))

    assert deduped(engine, table) == (3, 2)
    assert same(engine, table)


@pytest.mark.parametrize("rows", [3, 300], ids=["kept in the catalog", "kept in Parquet"])
def test_a_sync_without_changes_makes_no_version_of_the_lake(engine: Engine, table: str, rows: int) -> None:
    put(engine, table, *((i, i, i % 3) for i in range(rows)))
    deduped(engine, table)
    versions = engine.versions()

    read, written = deduped(engine, table)

    assert (read, written) == (rows // 3, 0)
    assert engine.versions() == versions


def test_an_unchanged_row_keeps_its_meta_columns(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 1))
    deduped(engine, table)
    before = dict(engine.rows(table, "id, _airbyte_raw_id"))
    put(engine, table, (2, 21, 2))

    deduped(engine, table, job_id=9001)

    after = dict(engine.rows(table, "id, _airbyte_raw_id"))
    assert after[1] == before[1]
    assert after[2] != before[2]
    assert engine.rows(table, "id, (_airbyte_meta->>'$.sync_id')::int = 9001") == [(1, False), (2, True)]


def test_rows_with_a_null_cursor_come_with_the_first_sync_only(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, None), (2, 20, 1))
    assert deduped(engine, table) == (2, 2)
    put(engine, table, (1, 11, None), (3, 30, None), (4, 40, 2))

    assert deduped(engine, table) == (2, 1)
    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 20), (4, 40)]


def test_a_cursor_without_any_value_reads_everything_until_there_is_one(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, None))
    assert deduped(engine, table) == (1, 1)
    put(engine, table, (1, 11, None), (2, 20, None))
    assert deduped(engine, table) == (2, 2)
    put(engine, table, (2, 21, 1))
    assert deduped(engine, table) == (2, 1)
    assert deduped(engine, table) == (1, 0)
    assert same(engine, table)


def test_an_infinite_cursor_does_not_hide_later_rows(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1))
    engine.source.execute(f"insert into {table} values (2, 20, 'infinity')".encode())
    assert deduped(engine, table) == (2, 2)
    put(engine, table, (3, 30, 2))
    assert deduped(engine, table) == (2, 1)
    assert [row[0] for row in engine.rows(table)] == [1, 2, 3]


def test_a_row_updated_with_an_older_cursor_is_missed_as_by_airbyte(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 5))
    deduped(engine, table)
    put(engine, table, (1, 99, 3), (3, 30, 4))

    assert deduped(engine, table) == (1, 0)
    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 20)]


def test_deleted_rows_stay_as_with_airbyte(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    deduped(engine, table)
    engine.source.execute(f"delete from {table}".encode())

    assert deduped(engine, table) == (0, 0)
    assert len(engine.rows(table)) == 2


def test_an_empty_table_is_made_and_filled_later(engine: Engine, table: str) -> None:
    assert deduped(engine, table) == (0, 0)
    assert engine.rows(table) == []
    put(engine, table, (1, 10, 1))
    assert deduped(engine, table) == (1, 1)
    assert same(engine, table)


def test_composite_keys(engine: Engine) -> None:
    engine.source.execute(
        "create table lines (a int, b text, v int, changed int, primary key (a, b));"
        "insert into lines values (1, 'x', 1, 1), (1, 'y', 2, 1), (2, 'x', 3, 1)"
    )
    engine.sync("lines", cursor="changed", key=["a", "b"])
    engine.source.execute("update lines set v = 9, changed = 2 where a = 1 and b = 'y'")

    done = engine.sync("lines", cursor="changed", key=["a", "b"])

    assert (done.emitted, done.committed) == (3, 1)
    assert engine.rows("lines", order="1, 2") == engine.origin("lines", order="1, 2")


def test_of_rows_with_the_same_key_the_newest_is_kept_in_every_sync(engine: Engine) -> None:
    engine.source.execute(
        "create table events (k int not null, v text, at int);"
        "insert into events values (1, 'old', 1), (1, 'new', 3), (1, 'mid', 2), (2, 'a', 1), (2, 'b', 1)"
    )
    done = engine.sync("events", cursor="at", key=["k"])
    assert (done.emitted, done.committed) == (5, 2)
    winner = dict(engine.rows("events", "k, v"))
    assert winner == {1: "new", 2: "b"}

    engine.source.execute("insert into events values (1, 'newer', 4), (1, 'newest', 5), (3, null, 4)")
    done = engine.sync("events", cursor="at", key=["k"])
    assert (done.emitted, done.committed) == (4, 2)
    assert dict(engine.rows("events", "k, v")) == {1: "newest", 2: "b", 3: None}


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("int", ["1", "9", "10"]),
        ("numeric", ["9", "10", "10.5"]),
        ("numeric(9,3)", ["9", "10", "10.5"]),
        ("text", ["10", "9", "a"]),
        ("date", ["2003-01-31", "2003-02-01", "2003-02-02"]),
        ("timestamp", ["2003-01-31 23:59:59.999998", "2003-01-31 23:59:59.999999", "2003-02-01"]),
        ("double precision", ["0.1", "0.30000000000000004", "1e300"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_ordered_type_can_be_the_cursor(engine: Engine, declared: str, values: list[str]) -> None:
    table = f"by_{next(_numbers)}"
    engine.source.execute(f"create table {table} (id int primary key, c {declared})".encode())
    for number, value in enumerate(values):
        engine.source.execute(
            f"insert into {table} values (%s, %s::text::{declared})".encode(), [number, value]
        )
        done = engine.sync(table, cursor="c", key=["id"])
        assert (done.emitted, done.committed) == (min(number + 1, 2), 1)
    assert engine.rows(table, "id, c::varchar") == engine.origin(table, "id, c::text")


def test_append_modes_keep_every_copy(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    assert engine.sync(table, "incremental_append", cursor="changed").committed == 2
    put(engine, table, (1, 11, 3))
    # The boundary row comes twice: Airbyte's append reads `>=` too.
    assert engine.sync(table, "incremental_append", cursor="changed").committed == 2
    assert [row[0] for row in engine.rows(table)] == [1, 1, 2, 2]


def test_full_refresh_append_adds_everything_each_time(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    assert [engine.sync(table, "full_refresh_append").committed for _ in range(2)] == [2, 2]
    assert len(engine.rows(table)) == 4


def test_overwrite_follows_deletes_and_skips_an_equal_table(engine: Engine, table: str) -> None:
    put(engine, table, *((i, i, 1) for i in range(50)))
    assert engine.sync(table, "full_refresh_overwrite").committed == 50
    versions = engine.versions()
    equal = engine.sync(table, "full_refresh_overwrite")
    assert (equal.emitted, equal.committed, engine.versions()) == (50, 0, versions)

    engine.source.execute(f"delete from {table} where id >= 40".encode())
    put(engine, table, (1, 99, 1))
    assert engine.sync(table, "full_refresh_overwrite").committed == 40
    assert same(engine, table)


@pytest.mark.parametrize(
    ("before", "after"),
    [("(1, 1), (1, 1), (2, 2)", "(1, 1), (2, 2), (2, 2)"), ("(1, 2), (3, 4)", "(1, 4), (3, 2)")],
    ids=["the number of equal rows", "values that changed places"],
)
def test_overwrite_notices(engine: Engine, before: str, after: str) -> None:
    table = f"pairs_{next(_numbers)}"
    engine.source.execute(
        f"create table {table} (v int, w int); insert into {table} values {before}".encode()
    )
    engine.sync(table, "full_refresh_overwrite")
    engine.source.execute(f"delete from {table}; insert into {table} values {after}".encode())

    assert engine.sync(table, "full_refresh_overwrite").committed > 0
    assert engine.rows(table, order="1, 2") == engine.origin(table, order="1, 2")


def test_overwrite_of_an_emptied_source_empties_the_table(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1))
    engine.sync(table, "full_refresh_overwrite")
    engine.source.execute(f"delete from {table}".encode())
    engine.sync(table, "full_refresh_overwrite")
    assert engine.rows(table) == []


def test_a_refresh_reads_everything_again_under_a_new_generation(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    deduped(engine, table)
    engine.source.execute(f"delete from {table} where id = 1".encode())

    assert deduped(engine, table, job_type="refresh") == (1, 1)
    assert engine.rows(table, "id, _airbyte_generation_id") == [(2, 1)]
    assert deduped(engine, table) == (1, 0)


@pytest.mark.parametrize("job_type", ["clear", "reset"])
def test_a_clear_empties_the_table_and_forgets_the_cursor(engine: Engine, table: str, job_type: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    deduped(engine, table)

    engine.sync(table, cursor="changed", key=["id"], job_type=job_type)

    assert engine.rows(table) == []
    assert deduped(engine, table) == (2, 2)
    assert same(engine, table)


def test_the_same_job_again_writes_nothing_and_reports_what_it_had_committed(
    engine: Engine, table: str
) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    engine.sync(table, "incremental_append", cursor="changed", job_id=5001)
    put(engine, table, (3, 30, 3))

    again = engine.sync(table, "incremental_append", cursor="changed", job_id=5001)
    assert (again.emitted, again.committed) == (2, 2)
    said = engine.sync(table, "incremental_append", cursor="changed", job_id=5001, before=(2, 2))
    assert (said.emitted, said.committed) == (0, 0)
    assert [row[0] for row in engine.rows(table)] == [1, 2]


def test_another_cursor_column_starts_from_the_beginning(engine: Engine) -> None:
    engine.source.execute(
        "create table twice (id int primary key, a int, b int); insert into twice values (1, 5, 1), (2, 6, 2)"
    )
    engine.sync("twice", cursor="a", key=["id"])
    engine.source.execute("insert into twice values (3, 1, 3)")
    assert engine.sync("twice", cursor="b", key=["id"]).committed == 1
    assert engine.rows("twice") == engine.origin("twice")


def test_a_dropped_raw_table_is_filled_again(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    deduped(engine, table)
    engine.lake.execute(f"drop table raw_test.{table}")
    assert deduped(engine, table) == (2, 2)
    assert same(engine, table)


def test_selected_columns_only(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1))
    engine.sync(table, cursor="changed", key=["id"], selected=["id", "changed"])
    assert len(engine.rows(table)[0]) == 2


def test_odd_names_and_every_kind_of_relation(engine: Engine) -> None:
    engine.source.execute(
        """
        create table "Select ""Me"" now" ("Order" int primary key, "ümläut; drop" text, "a.b" int);
        insert into "Select ""Me"" now" values (1, 'x', 2);
        create view a_view as select * from "Select ""Me"" now";
        create materialized view a_matview as select * from "Select ""Me"" now";
        create table parts (id int primary key, v text) partition by range (id);
        create table parts_1 partition of parts for values from (0) to (10);
        create table parts_2 partition of parts for values from (10) to (20);
        insert into parts values (1, 'a'), (11, 'b');
        create table computed (id int primary key, v int, w int generated always as (v * 2) stored);
        insert into computed values (1, 21);
        create schema other;
        create table other.computed_there (id int primary key);
        insert into other.computed_there values (7);
        """
    )
    odd = 'Select "Me" now'
    engine.sync(odd, cursor="a.b", key=["Order"])
    for table in (odd, "a_view", "a_matview", "parts", "computed"):
        engine.sync(table, "full_refresh_overwrite")
        assert engine.rows(table) == engine.origin(table)
    engine.sync("computed_there", "full_refresh_overwrite", namespace="other")
    assert engine.rows("computed_there") == [(7,)]


def test_a_long_read_tells_how_far_it_is(engine: Engine, cluster: Cluster) -> None:
    engine.source.execute(
        "create table slow as select i as id, 'x' || i as v, 0 as changed from generate_series(1, 1000) i"
    )
    make_parking(engine.source, "slow_view", "slow", row=900)
    with ThreadPoolExecutor(1) as pool, cluster.connect(engine.address.database) as other:
        with parked(other):
            done = pool.submit(engine.sync, "slow_view", "full_refresh_overwrite")
            # The read stands still at row 900 until somebody has been told of the 899 before it.
            until(lambda: any(message.emitted == 899 for message in engine.said), "899 rows are reported")
        assert done.result().emitted == 1000
    told = [message.emitted for message in engine.said]
    assert (told[0], told[-1]) == (0, 1000)
    assert told == sorted(told)


@pytest.mark.parametrize("rows", [0, 1, 3000], ids=["empty", "one row", "many rows"])
@pytest.mark.parametrize(
    ("mode", "once_more"),
    [
        ("full_refresh_overwrite", lambda rows: 0),
        ("full_refresh_append", lambda rows: rows),
        ("incremental_append", lambda rows: (rows + 6) // 7 if rows else 0),
        ("incremental_deduped_history", lambda rows: 0),
    ],
)
def test_every_mode_with_every_size(
    engine: Engine, table: str, mode: str, once_more: Callable[[int], int], rows: int
) -> None:
    engine.source.execute(
        f"insert into {table} select i, i, timestamptz '2003-06-01' - i % 7 * interval '1 day' "
        f"from generate_series(0, {rows - 1}) i".encode()
    )
    first = engine.sync(table, mode, cursor="changed", key=["id"])
    assert (first.emitted, first.committed, same(engine, table)) == (rows, rows, True)

    second = engine.sync(table, mode, cursor="changed", key=["id"])
    assert second.committed == once_more(rows)
    assert len(engine.rows(table, "id")) == rows + once_more(rows)


def test_a_row_whose_key_changed_is_a_new_row(engine: Engine, table: str) -> None:
    put(engine, table, (1, 10, 1), (2, 20, 2))
    deduped(engine, table)
    engine.source.execute(
        f"update {table} set id = 9, changed = changed + interval '5 day' where id = 1".encode()
    )

    assert deduped(engine, table) == (2, 1)
    # The old key stays, as with Airbyte: to a cursor it is a deleted row.
    assert engine.rows(table, "id, amount::int") == [(1, 10), (2, 20), (9, 10)]


def test_what_is_committed_while_a_sync_reads_comes_with_the_next_one(
    engine: Engine, cluster: Cluster
) -> None:
    """The upper bound, the counts and the rows are of one snapshot."""
    engine.source.execute("create table busy (id int primary key, v text, changed int)")
    engine.source.execute("insert into busy select i, 'old', i from generate_series(1, 20) i")
    make_parking(engine.source, "busy_view", "busy", row=10)
    how: dict[str, Any] = {"cursor": "changed", "key": ["id"]}
    with ThreadPoolExecutor(1) as pool, cluster.connect(engine.address.database) as other:
        with parked(other) as waits:
            done = pool.submit(engine.sync, "busy_view", **how)
            waits()
            engine.source.execute(
                "update busy set v = 'new', changed = 30 where id = 15; delete from busy where id = 16;"
                "insert into busy values (21, 'new', 31), (22, 'new', 20)"
            )
        assert (done.result().emitted, done.result().committed) == (20, 20)
    assert engine.rows("busy_view", "distinct v") == [("old",)]

    # From the bound of the first sync on: its own row, the changed, the two new ones.
    assert engine.sync("busy_view", **how).emitted == 4
    replicated = engine.rows("busy_view", "id, v, changed")
    assert [row for row in replicated if row[0] != 16] == engine.origin("busy", "id, v, changed")


@pytest.mark.parametrize("mode", ["full_refresh_append", "full_refresh_overwrite"])
def test_a_view_that_gives_other_rows_when_read_than_when_counted_is_refused(
    engine: Engine, mode: str
) -> None:
    name = f"growing_{next(_numbers)}"
    engine.source.execute(
        f"""
        create view {name} as select i from generate_series(1, 1 + (
            select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'
        )::int) i where pg_try_advisory_xact_lock(77)
        """.encode()
    )
    failures, done = engine.attempt(name, mode)
    assert done is None
    assert "2 rows came, 1 were counted just before" in failures[0].message
