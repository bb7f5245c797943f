"""`ops.syncs`: one row per stream and sync, also for syncs that changed nothing, failed or were cancelled.

Freshness reads `finished_at` of the succeeded ones here, since a raw table does not show that it was
looked at and found unchanged. Rows written are counted in the warehouse, so the number means the same with
any Airbyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from blocks.airbyte import AirbyteConnection, AirbyteSyncResult
from blocks.airbyte_streams import ReplicatedStream
from blocks.airbyte_watch import StreamCounts
from blocks.errors import ConfigurationError
from lambda_csv_loader.ducklake import sql_name, sql_string
from lambda_csv_loader.session import Session

# Written so that DuckDB and Snowflake read it alike: no parameters, whose style differs, and tables of
# Airbyte's under upper-case quoted names, which DuckDB finds whatever their case.
_TABLES = {
    "syncs": "(sync_id bigint, connection varchar, stream varchar, status varchar, started_at timestamptz, "
    "finished_at timestamptz, rows_read bigint, rows_written bigint, bytes bigint, emitted_at timestamptz, "
    "namespace varchar)",
    # What the source's tables looked like at the last good sync, see blocks/schema_drift.py.
    "source_columns": "(connection varchar, namespace varchar, stream varchar, column_name varchar, "
    "declared_type varchar, position integer, seen_at timestamptz)",
    # One row, there from the table's first moment: whoever records updates it first, so that two who
    # record the same sync follow one another, which neither warehouse's constraints can do.
    "sync_log_lock": "as select 0 as records",
}
_OPS = sql_string("OPS")
# Its schema in the source and its name.
Stream = tuple[str, str]


class Database(Protocol):
    """The part of a DuckDB connection or a Snowflake cursor that is needed here."""

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> Any:
        """Run one statement."""

    def fetchall(self) -> list[Any]:
        """Return the rows of the last statement."""


class StreamRecord(BaseModel):
    """What one sync did to one stream.

    Attributes:
        namespace: the stream's schema in the source.
        rows_read: rows the source gave, in the server's count; None where it does not say.
        rows_written: raw rows that carry this sync's id, counted in the warehouse.
        bytes: of the rows, in the server's count.
    """

    model_config = ConfigDict(frozen=True)

    namespace: str
    stream: str
    rows_read: int | None
    rows_written: int
    bytes: int | None


class StreamTotal(NamedTuple):
    """What the good syncs of one stream did in all."""

    last_ended: datetime
    rows_written: int


def record_sync(
    database: Database, connection: AirbyteConnection, result: AirbyteSyncResult, also: Sequence[str] = ()
) -> list[StreamRecord]:
    """Write an ended sync's rows into `ops.syncs`; a second call for the same sync adds nothing.

    Args:
        database: the warehouse.
        connection: the block that was synced.
        result: what Airbyte said.
        also: statements to run in the same transaction.

    Returns:
        What was recorded, per stream.

    Raises:
        ConfigurationError: rows were read and there is no table of that name.
        WarehouseUnavailable: nothing was written.
    """
    session = Session(lambda: database)
    session.run(lambda: prepare(session))
    records = _measured(database, connection, result)
    session.run(lambda: _write(session, connection, result, records, also))
    return records


def recorded_syncs(database: Database, connection: str) -> set[int]:
    """Return the ids of the syncs of a connection that `ops.syncs` has."""
    session = Session(lambda: database)

    def read() -> set[int]:
        prepare(session)
        rows = session.rows(f"select sync_id from ops.syncs where connection = {sql_string(connection)}")
        return {int(row[0]) for row in rows}

    return session.run(read)


def stream_totals(database: Database) -> dict[str, dict[Stream, StreamTotal]]:
    """Return what each stream's good syncs did in all, by connection, then by schema and table.

    One query for all: a warehouse in the cloud takes a while for each.
    """
    session = Session(lambda: database)

    def read() -> dict[str, dict[Stream, StreamTotal]]:
        prepare(session)
        totals: dict[str, dict[Stream, StreamTotal]] = {}
        for connection, namespace, stream, ended, written in session.rows(
            "select connection, coalesce(namespace, 'public'), stream, max(finished_at), sum(rows_written)"
            " from ops.syncs where status = 'succeeded' group by 1, 2, 3"
        ):
            of_connection = totals.setdefault(str(connection), {})
            of_connection[str(namespace), str(stream)] = StreamTotal(ended, int(written or 0))
        return totals

    return session.run(read)


def last_good_syncs(database: Database) -> dict[str, dict[Stream, datetime]]:
    """Return when each stream's last good sync ended, by connection, then by schema and table."""
    return {
        connection: {stream: total.last_ended for stream, total in totals.items()}
        for connection, totals in stream_totals(database).items()
    }


def prepare(session: Session) -> None:
    """Make the tables of `ops` that syncs are recorded in; only inside `session.run`."""
    present = {name.lower() for (name,) in session.rows(_names("distinct table_name", _OPS))}
    if not present:
        session.execute("create schema if not exists ops")
    for name, definition in _TABLES.items():
        if name not in present:
            session.execute(f"create table if not exists ops.{name} {definition}")
    columns = f"{_names('column_name', _OPS)} and upper(table_name) = 'SYNCS'"
    if "namespace" not in {name.lower() for (name,) in session.rows(columns)}:
        session.execute("alter table ops.syncs add column namespace varchar")


def _names(what: str, schemas: str) -> str:
    # Of tables too, since for `information_schema.tables` DuckDB counts the rows of every table of the lake.
    return (
        f"select {what} from information_schema.columns "
        f"where table_catalog = current_database() and upper(table_schema) in ({schemas})"
    )


def _write(
    session: Session,
    connection: AirbyteConnection,
    result: AirbyteSyncResult,
    records: Sequence[StreamRecord],
    also: Sequence[str],
) -> None:
    session.execute("begin transaction")
    session.execute("update ops.sync_log_lock set records = records + 1")
    # A server that was set up anew counts its jobs from 1 again; their times tell them apart.
    seen = session.rows(
        f"select namespace, stream from ops.syncs where connection = {sql_string(connection.name)} "
        f"and sync_id = {result.job_id} and started_at = {_time(result.started_at)}"
    )
    rows = [
        _row(connection, result, record)
        for record in records
        if (record.namespace, record.stream) not in {tuple(found) for found in seen}
    ]
    if rows:
        session.execute(
            "insert into ops.syncs (sync_id, connection, namespace, stream, status, started_at, finished_at, "
            f"rows_read, rows_written, bytes) values {', '.join(rows)}"
        )
    for statement in also:
        session.execute(statement)
    session.execute("commit")


def _measured(
    database: Database, connection: AirbyteConnection, result: AirbyteSyncResult
) -> list[StreamRecord]:
    counted: dict[ReplicatedStream, StreamCounts | None] = dict.fromkeys(connection.streams)
    for counts in result.streams:
        counted[connection.stream(counts.namespace, counts.name)] = counts
    present = _present(database, list(counted))
    return [
        StreamRecord(
            namespace=stream.namespace,
            stream=stream.name,
            rows_read=counts.rows_read if counts and result.complete else None,
            rows_written=_written(database, result, stream, counts, present),
            bytes=counts.bytes if counts and result.complete else None,
        )
        for stream, counts in counted.items()
    ]


def _present(database: Database, streams: Sequence[ReplicatedStream]) -> set[tuple[str, str]]:
    """Return schema and table, in upper case, of what is in the streams' raw schemas."""
    schemas = ", ".join(sorted({sql_string(stream.raw_schema.upper()) for stream in streams}))
    database.execute(_names("distinct table_schema, table_name", schemas or "''"))
    return {(str(schema).upper(), str(table).upper()) for schema, table in database.fetchall()}


def _written(
    database: Database,
    result: AirbyteSyncResult,
    stream: ReplicatedStream,
    counts: StreamCounts | None,
    present: set[tuple[str, str]],
) -> int:
    # A stream of which nothing was read cannot have been written: its table is left alone.
    if counts is not None and counts.rows_read == 0 and result.complete:
        return 0
    table = (stream.raw_schema.upper(), stream.raw_table.upper())
    if table in present:
        return _count(database, result, sql_name(*table))
    if result.status == "succeeded" and counts is not None:
        raise ConfigurationError(
            f"Airbyte says that it read {counts.rows_read} rows of {stream.full_name} (job {result.job_id}), "
            f"and the warehouse has no table {'.'.join(table)}",
            state="the sync has succeeded; it is not in ops.syncs yet",
            next_command="floe connections plan",
        )
    return 0


def _count(database: Database, result: AirbyteSyncResult, table: str) -> int:
    meta = "replace(cast(_airbyte_meta as varchar), ' ', '')"
    database.execute(
        f"select count(*) from {table} where _airbyte_extracted_at >= {_time(result.started_at)} "
        f"and ({meta} like '%\"sync_id\":{result.job_id},%' or {meta} like '%\"sync_id\":{result.job_id}}}%')"
    )
    return int(database.fetchall()[0][0])


def _row(connection: AirbyteConnection, result: AirbyteSyncResult, record: StreamRecord) -> str:
    values = [
        str(result.job_id),
        sql_string(connection.name),
        sql_string(record.namespace),
        sql_string(record.stream),
        sql_string(result.status),
        _time(result.started_at),
        _time(result.ended_at),
        _number(record.rows_read),
        _number(record.rows_written),
        _number(record.bytes),
    ]
    return f"({', '.join(values)})"


def _time(when: datetime) -> str:
    return f"cast({sql_string(when.isoformat())} as timestamptz)"


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)
