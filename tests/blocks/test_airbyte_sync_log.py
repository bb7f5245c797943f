"""`ops.syncs`: one row per stream and sync, with rows written as the warehouse counts them."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest

from blocks.airbyte import AirbyteConnection, AirbyteServer, AirbyteSyncResult
from blocks.airbyte_watch import StreamCounts
from blocks.sync_log import record_sync

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
            "select * exclude (stream, rows_read, rows_written, bytes) from ops.syncs"
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


def test_a_server_without_statistics_is_measured_all_the_same(database: duckdb.DuckDBPyConnection) -> None:
    wrote(database, "customer", 5, 2, "2003-01-02 06:30:00+00")
    (record,) = record_sync(database, CONNECTION, result(5), streams=["customer"])
    assert (record.rows_read, record.rows_written, record.bytes) == (None, 2, None)
