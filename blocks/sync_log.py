"""`ops.syncs`: one row per stream and sync, also for syncs that changed nothing.

Freshness reads `finished_at` here, since a raw table does not show that it was looked at and found
unchanged. Rows written are counted in the warehouse, so the number means the same with any Airbyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from blocks.airbyte import AirbyteConnection, AirbyteSyncResult
from lambda_csv_loader.ducklake import sql_name, sql_string

# Written so that DuckDB and Snowflake read it alike: no parameters, whose style differs, and tables of
# Airbyte's under upper-case quoted names, which DuckDB finds whatever their case.
_CREATE = (
    "create schema if not exists ops",
    "create table if not exists ops.syncs (sync_id bigint, connection varchar, stream varchar, "
    "status varchar, started_at timestamptz, finished_at timestamptz, rows_read bigint, "
    "rows_written bigint, bytes bigint, emitted_at timestamptz)",
)


class Database(Protocol):
    """The part of a DuckDB connection or a Snowflake cursor that is needed here."""

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> Any:
        """Run one statement."""

    def fetchall(self) -> list[Any]:
        """Return the rows of the last statement."""


class StreamRecord(BaseModel):
    """What one sync did to one stream.

    Attributes:
        rows_read: rows the source gave, in the server's count; None where it does not say.
        rows_written: raw rows that carry this sync's id, counted in the warehouse.
        bytes: of the rows, in the server's count.
    """

    model_config = ConfigDict(frozen=True)

    stream: str
    rows_read: int | None
    rows_written: int
    bytes: int | None


def record_sync(
    database: Database, connection: AirbyteConnection, result: AirbyteSyncResult, streams: Sequence[str] = ()
) -> list[StreamRecord]:
    """Write a finished sync's rows into `ops.syncs`; a second call for the same sync changes nothing.

    Args:
        database: the warehouse.
        connection: the block that was synced.
        result: what Airbyte said.
        streams: the connection's streams, for servers that give no statistics per stream.

    Returns:
        What was recorded, per stream.
    """
    records = _measured(database, connection, result, streams)
    for statement in _CREATE:
        database.execute(statement)
    database.execute(
        f"select stream from ops.syncs where connection = {sql_string(connection.name)} "
        f"and sync_id = {result.job_id}"
    )
    seen = {row[0] for row in database.fetchall()}
    rows = [_row(connection, result, record) for record in records if record.stream not in seen]
    if rows:
        database.execute(f"insert into ops.syncs values {', '.join(rows)}")
    return records


def _measured(
    database: Database, connection: AirbyteConnection, result: AirbyteSyncResult, streams: Sequence[str]
) -> list[StreamRecord]:
    counted = {stream.name: stream for stream in result.streams}
    records = []
    for name in dict.fromkeys([*counted, *streams]):
        stream = counted.get(name)
        # A stream of which nothing was read cannot have been written: its table is left alone.
        written = (
            0 if stream is not None and stream.rows_read == 0 else _count(database, connection, result, name)
        )
        records.append(
            StreamRecord(
                stream=name,
                rows_read=stream.rows_read if stream else None,
                rows_written=written,
                bytes=stream.bytes if stream else None,
            )
        )
    return records


def _count(database: Database, connection: AirbyteConnection, result: AirbyteSyncResult, stream: str) -> int:
    table = sql_name(connection.destination_schema.upper(), stream.upper())
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
        sql_string(record.stream),
        sql_string("succeeded"),
        _time(result.started_at),
        _time(result.ended_at),
        _number(record.rows_read),
        _number(record.rows_written),
        _number(record.bytes),
        "null",
    ]
    return f"({', '.join(values)})"


def _time(when: datetime) -> str:
    return f"cast({sql_string(when.isoformat())} as timestamptz)"


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)
