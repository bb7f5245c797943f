"""`ops.syncs`: one row per stream and sync, with rows written as the warehouse counts them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from blocks.airbyte import AirbyteConnection, AirbyteServer, AirbyteSyncResult
from blocks.airbyte_streams import ReplicatedStream
from blocks.airbyte_watch import StreamCounts
from blocks.errors import ConfigurationError
from blocks.sync_log import record_sync, recorded_syncs
from lambda_csv_loader.ducklake import DuckLakeSettings, connect

STARTED, ENDED = datetime(2003, 1, 2, 6, tzinfo=UTC), datetime(2003, 1, 2, 7, tzinfo=UTC)
CONNECTION = AirbyteConnection(
    server=AirbyteServer(server_url="http://127.0.0.1:1", token="t"),
    connection_id="c",
    name="crm",
    destination_schema="raw_crm",
)


@pytest.fixture
def database(lake_connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    lake_connection.execute("create schema raw_crm")
    for table in ("customer", "Order Lines"):
        lake_connection.execute(
            f'create table raw_crm."{table}" (id int, _airbyte_extracted_at timestamptz, _airbyte_meta json)'
        )
    return lake_connection


def wrote(database: duckdb.DuckDBPyConnection, table: str, sync_id: int, rows: int, at: str) -> None:
    meta = (
        f'{{"sync_id": {sync_id}, "changes": []}}' if sync_id % 2 else f'{{"changes":[],"sync_id":{sync_id}}}'
    )
    database.execute(
        f"insert into raw_crm.\"{table}\" select i, timestamptz '{at}', '{meta}' from range({rows}) t(i)"
    )


def result(job_id: int, *streams: StreamCounts) -> AirbyteSyncResult:
    return AirbyteSyncResult(
        job_id=job_id,
        started_at=STARTED,
        ended_at=ENDED,
        attempts=1,
        rows_written=999,
        bytes=9,
        streams=streams,
    )


@pytest.mark.parametrize("job_id", [12, 13], ids=["sync_id last in the meta", "sync_id first"])
def test_rows_written_are_counted_in_the_warehouse(database: duckdb.DuckDBPyConnection, job_id: int) -> None:
    wrote(database, "customer", job_id, 5, "2003-01-02 06:30:00+00")
    wrote(database, "customer", job_id + 100, 50, "2003-01-02 06:30:00+00")
    wrote(database, "customer", job_id, 500, "2002-12-31 00:00:00+00")  # another server's job of that number
    wrote(database, "Order Lines", job_id, 1, "2003-01-02 06:30:00+00")
    streams = [
        StreamCounts(name="customer", rows_read=7, bytes=70),
        StreamCounts(name="Order Lines", rows_read=1),
    ]

    records = record_sync(database, CONNECTION, result(job_id, *streams))

    assert [(r.stream, r.rows_read, r.rows_written) for r in records] == [
        ("customer", 7, 5),
        ("Order Lines", 1, 1),
    ]
    assert (
        database.execute(
            "select * exclude (stream, rows_read, rows_written, bytes, namespace) from ops.syncs"
        ).fetchall()
        == [(job_id, "crm", "succeeded", STARTED, ENDED, None)] * 2
    )


def test_a_sync_that_changed_nothing_leaves_its_rows_too(database: duckdb.DuckDBPyConnection) -> None:
    record_sync(database, CONNECTION, result(3, StreamCounts(name="customer", rows_read=0)))
    assert database.execute("select sync_id, stream, rows_read, rows_written from ops.syncs").fetchall() == [
        (3, "customer", 0, 0)
    ]


def test_a_table_that_was_not_read_need_not_exist(database: duckdb.DuckDBPyConnection) -> None:
    records = record_sync(database, CONNECTION, result(3, StreamCounts(name="not yet", rows_read=0)))
    assert records[0].rows_written == 0


def test_a_second_record_of_the_same_sync_changes_nothing(database: duckdb.DuckDBPyConnection) -> None:
    done = result(
        3, StreamCounts(name="customer", rows_read=0), StreamCounts(name="Order Lines", rows_read=0)
    )
    assert record_sync(database, CONNECTION, done) == record_sync(database, CONNECTION, done)
    record_sync(database, CONNECTION, result(4, StreamCounts(name="customer", rows_read=0)))
    assert database.execute("select sync_id, count(*) from ops.syncs group by all order by 1").fetchall() == [
        (3, 2),
        (4, 1),
    ]


def connected(*streams: ReplicatedStream) -> AirbyteConnection:
    return CONNECTION.model_copy(update={"streams": streams})


def stream(namespace: str, name: str, schema: str = "raw_crm", table: str | None = None) -> ReplicatedStream:
    return ReplicatedStream(namespace=namespace, name=name, raw_schema=schema, raw_table=table or name)


def test_a_server_without_statistics_is_measured_all_the_same(database: duckdb.DuckDBPyConnection) -> None:
    wrote(database, "customer", 5, 2, "2003-01-02 06:30:00+00")
    (record,) = record_sync(database, connected(stream("public", "customer")), result(5))
    assert (record.rows_read, record.rows_written, record.bytes) == (None, 2, None)


def test_statistics_from_before_the_end_are_not_taken_for_final(database: duckdb.DuckDBPyConnection) -> None:
    wrote(database, "customer", 5, 2, "2003-01-02 06:30:00+00")
    early = result(5, StreamCounts(name="customer", rows_read=0)).model_copy(update={"complete": False})
    (record,) = record_sync(database, connected(stream("public", "customer")), early)
    assert (record.rows_read, record.rows_written) == (None, 2)


def test_tables_of_one_name_in_two_schemas_are_two_streams(database: duckdb.DuckDBPyConnection) -> None:
    for schema, rows in {"north": 2, "south": 3}.items():
        database.execute(f"create schema raw_{schema}")
        database.execute(
            f"create table raw_{schema}.pre_customer "
            "(id int, _airbyte_extracted_at timestamptz, _airbyte_meta json)"
        )
        database.execute(
            f"insert into raw_{schema}.pre_customer select i, timestamptz '2003-01-02 06:30:00+00', "
            f"'{{\"sync_id\":5}}' from range({rows}) t(i)"
        )
    connection = CONNECTION.model_copy(
        update={"destination_schema": "raw_${SOURCE_NAMESPACE}", "table_prefix": "pre_"}
    )
    counts = [
        StreamCounts(namespace=name, name="customer", rows_read=read)
        for name, read in {"north": 4, "south": 5}.items()
    ]

    # Whether it is declared or was added by hand on the server.
    declared = stream("north", "customer", "raw_north", "pre_customer")
    records = record_sync(
        database, connection.model_copy(update={"streams": (declared,)}), result(5, *counts)
    )

    assert [(r.namespace, r.stream, r.rows_read, r.rows_written) for r in records] == [
        ("north", "customer", 4, 2),
        ("south", "customer", 5, 3),
    ]
    rows = database.execute("select namespace, rows_written from ops.syncs order by 1").fetchall()
    assert rows == [("north", 2), ("south", 3)]


def test_a_server_that_does_not_name_the_schema_means_the_declared_stream(
    database: duckdb.DuckDBPyConnection,
) -> None:
    counts = StreamCounts(namespace=None, name="customer", rows_read=0)
    (record,) = record_sync(database, connected(stream("sales", "customer")), result(5, counts))
    assert (record.namespace, record.rows_read) == ("sales", 0)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_sync_that_did_not_succeed_leaves_rows_too(
    database: duckdb.DuckDBPyConnection, status: str
) -> None:
    wrote(database, "customer", 5, 2, "2003-01-02 06:30:00+00")
    ended = result(5, StreamCounts(name="customer", rows_read=2), StreamCounts(name="never", rows_read=9))
    record_sync(database, CONNECTION, ended.model_copy(update={"status": status}))
    rows = database.execute("select stream, status, rows_written from ops.syncs order by 1").fetchall()
    assert rows == [("customer", status, 2), ("never", status, 0)]
    assert recorded_syncs(database, "crm") == {5}
    assert recorded_syncs(database, "erp") == set()


def test_rows_that_were_read_into_no_table_are_asked_about(database: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(
        ConfigurationError, match=r"read 9 rows of public\.never .* has no table RAW_CRM\.NEVER"
    ):
        record_sync(database, CONNECTION, result(5, StreamCounts(name="never", rows_read=9)))


class Meanwhile:
    """A connection on which something happens before its first insert."""

    def __init__(self, connection: Any, happens: Callable[[], object]) -> None:
        self._connection = connection
        self._happens: Callable[[], object] | None = happens

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> Any:
        if query.startswith("insert") and self._happens:
            happens, self._happens = self._happens, None
            happens()
        return self._connection.execute(query, parameters)

    def fetchall(self) -> list[Any]:
        found: list[Any] = self._connection.fetchall()
        return found


def test_two_who_record_one_sync_at_the_same_time_leave_one_row(
    database: duckdb.DuckDBPyConnection, lake: DuckLakeSettings
) -> None:
    done = result(3, StreamCounts(name="customer", rows_read=0))
    with connect(lake) as other:
        record_sync(Meanwhile(database, lambda: record_sync(other, CONNECTION, done)), CONNECTION, done)
    assert database.execute("select sync_id, count(*) from ops.syncs group by all").fetchall() == [(3, 1)]


def test_a_log_from_before_schemas_were_recorded_is_continued(database: duckdb.DuckDBPyConnection) -> None:
    database.execute("create schema ops")
    database.execute(
        "create table ops.syncs (sync_id bigint, connection varchar, stream varchar, status varchar, "
        "started_at timestamptz, finished_at timestamptz, rows_read bigint, rows_written bigint, "
        "bytes bigint, emitted_at timestamptz)"
    )
    record_sync(database, CONNECTION, result(3, StreamCounts(name="customer", rows_read=0)))
    assert database.execute("select namespace, stream from ops.syncs").fetchall() == [("public", "customer")]


def test_a_server_set_up_anew_counts_its_jobs_from_one_again(database: duckdb.DuckDBPyConnection) -> None:
    done = result(3, StreamCounts(name="customer", rows_read=0))
    record_sync(database, CONNECTION, done)
    record_sync(database, CONNECTION, done.model_copy(update={"started_at": ENDED}))
    assert database.execute("select count(*) from ops.syncs").fetchall() == [(2,)]
