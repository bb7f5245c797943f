"""The outbox: what happened in the warehouse and was not told to Prefect yet.

Loader and sync log leave `emitted_at` empty in the row that records what they did, in the transaction that
does it, and know nothing of Prefect. Telling comes after: events first, then their rows are marked, so that
a crash between the two tells again and never forgets. Each event has one id however often it is told, and
the Prefect server keeps one of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from blocks.sync_log import Database
from lambda_csv_loader.ducklake import sql_string
from lambda_csv_loader.session import Session

AT_ONCE = 500
_NAMESPACE = uuid.UUID("5f6b0f0a-6f5e-4a53-9a55-0d6c6c1a7e11")
_TABLES = (
    # Not from `information_schema.tables`, for which DuckDB counts the rows of every table of the lake.
    "select distinct upper(table_name) from information_schema.columns"
    " where table_catalog = current_database() and upper(table_schema) = 'OPS'"
)
_FILES = (
    "select file_id, attempts, dataset, key, status, rows_loaded, recorded_at from ops.csv_files"
    " where emitted_at is null and status in ('loaded', 'quarantined')"
    f" order by recorded_at, file_id limit {AT_ONCE}"
)
_SYNCS = (
    "select connection, sync_id, started_at, max(status), cast(sum(rows_written) as bigint),"
    " max(finished_at) from ops.syncs where emitted_at is null group by connection, sync_id, started_at"
    f" order by max(finished_at), sync_id limit {AT_ONCE}"
)


@dataclass(frozen=True)
class Happening:
    """One thing to tell.

    Attributes:
        event: its name: `floe.file.loaded`, `floe.file.quarantined`, `floe.sync.succeeded` ...
        resource: what it happened to: `floe.dataset.<name>` or `floe.source.<name>`.
        identity: tells it apart from all others.
        payload: what is worth knowing.
        rows: the condition that finds its rows.
    """

    event: str
    resource: str
    identity: str
    payload: dict[str, Any]
    rows: str

    def document(self, told_at: datetime) -> dict[str, Any]:
        """Return the event as Prefect's API takes it.

        Args:
            told_at: the moment of telling, for the whole batch. A trigger counts by what an event says of
                its time: with the times of the files, an hour's files told at once would be an hour of
                triggers. When it happened is in the payload.
        """
        return {
            "id": str(uuid.uuid5(_NAMESPACE, self.identity)),
            "event": self.event,
            "occurred": told_at.isoformat(),
            "resource": {
                "prefect.resource.id": self.resource,
                "prefect.resource.name": self.resource.split(".", 2)[2],
            },
            "payload": self.payload,
        }


def empty(database: Database, tell: Callable[[Sequence[Happening]], None]) -> int:
    """Tell everything that was not told yet, oldest first; return how many events that were.

    Args:
        database: the warehouse.
        tell: hands a batch over; what it raises leaves the batch untold.

    Raises:
        WarehouseUnavailable: the warehouse does not answer; what was not marked is told again.
    """
    session, told = Session(lambda: database), 0
    present = {name for (name,) in session.run(lambda: session.rows(_TABLES))}
    for table, query, happening in (("CSV_FILES", _FILES, _file), ("SYNCS", _SYNCS, _sync)):
        while table in present and (rows := session.run(partial(session.rows, query))):
            batch = [happening(*row) for row in rows]
            tell(batch)
            session.run(partial(_mark, session, table, batch))
            told += len(batch)
    return told


def _file(
    file_id: str, attempts: int, dataset: str, key: str, status: str, rows: int, recorded_at: datetime
) -> Happening:
    return Happening(
        event=f"floe.file.{status}",
        resource=f"floe.dataset.{dataset}",
        identity=f"file {file_id} {attempts}",
        payload={"key": key, "file_id": file_id, "rows": rows, "happened": recorded_at.isoformat()},
        # A file that is looked at again meanwhile gets a row anew, which is told for itself.
        rows=f"file_id = {sql_string(file_id)} and attempts = {attempts}",
    )


def _sync(
    connection: str, sync_id: int, started_at: datetime, status: str, rows: int, finished_at: datetime
) -> Happening:
    return Happening(
        event=f"floe.sync.{status}",
        resource=f"floe.source.{connection}",
        identity=f"sync {connection} {sync_id} {started_at.isoformat()}",
        payload={"job_id": sync_id, "rows": rows, "happened": finished_at.isoformat()},
        rows=f"connection = {sql_string(connection)} and sync_id = {sync_id} "
        f"and started_at = cast({sql_string(started_at.isoformat())} as timestamptz)",
    )


def _mark(session: Session, table: str, batch: Sequence[Happening]) -> None:
    rows = " or ".join(f"({happening.rows})" for happening in batch)
    session.execute(
        f"update ops.{table.lower()} set emitted_at = current_timestamp where emitted_at is null and ({rows})"
    )
