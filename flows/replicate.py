"""The flow `replicate`: one source database into its raw schema, through Airbyte."""

from __future__ import annotations

from typing import cast

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from pydantic import BaseModel

from blocks.airbyte import AirbyteConnection, AirbyteSync
from blocks.airbyte_errors import AirbyteSyncStalled, NoSuchStream
from blocks.airbyte_streams import ReplicatedStream
from blocks.errors import FloeError
from blocks.schema_drift import SchemaChange, refuse
from blocks.schema_memory import Inspection, inspect
from blocks.source_database import SourceDatabase
from blocks.strict_block import NoSuchBlock
from blocks.sync_log import Database, StreamRecord, record_sync, recorded_syncs
from blocks.warehouse import Warehouse
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps
from flows.stream_bars import StreamBars, artifact_key, drawn, newest_job_before


class ReplicateResult(BaseModel):
    """What a replication did.

    Attributes:
        source: the name of the connection.
        job_id: Airbyte's id of the job.
        rows_read: over all streams, as far as the server says.
        rows_written: over all streams, counted in the warehouse.
        streams: the same, per stream.
    """

    source: str
    job_id: int
    rows_read: int
    rows_written: int
    streams: list[StreamRecord]


@flow(name="replicate", flow_run_name="replicate {source}")
def replicate(
    source: str,
    refresh: bool = False,
    streams: list[str] | None = None,
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
) -> ReplicateResult:
    """Sync one Airbyte connection and wait for it, showing a bar per stream.

    Attaches to a sync that runs already. When this run is cancelled, so is the sync; when it died and is
    tried again, it finds its own sync. Every sync leaves its rows in `ops.syncs`, also one that found
    nothing new, failed, or whose run did not live to record it.

    Before the sync the source's tables are compared with the declaration and with what they were at the
    last good sync: what the connection's policy does not stop at is said in the log and in the run's table.
    Each step is tried again when a server did not answer; none of them starts a second sync beside one.

    Args:
        source: the database to replicate, by the name of its Airbyte Connection block
        refresh: read streams anew as a whole, from the beginning; their rows are replaced at the end
        streams: with `refresh`, only these, as `schema.table` or `table`; all of them when left out
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Raises:
        SourceSchemaChanged: key or cursor of a stream are gone, or what else the policy stops at.
        NoSuchStream: the connection has none of a name, or a sync was asked for with some streams only.
        AirbyteSyncFailed: Airbyte gave up; the message has its reasons.
        AirbyteUnreachable: the server did not answer, several times in a row.
        WarehouseUnavailable: the warehouse did not; if the sync has ended, the next run records it.
    """
    steps = Steps(first_pause_seconds)
    connection = cast(AirbyteConnection, AirbyteConnection.load(source))
    refreshed = _refreshed(connection, refresh, streams)
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    seen = steps.run("look at the source", lambda: _look_at_source(connection, warehouse))
    bars = StreamBars(source)
    sync = steps.run("refresh" if refresh else "sync", _Sync(connection, bars, refreshed).to_its_end)
    records = steps.run("record the sync", lambda: _record(connection, warehouse, sync, seen, refreshed))
    result = sync.fetch_result()
    bars.finish()
    drawn(lambda: _publish(source, result.job_id, records, seen.changes))
    return ReplicateResult(
        source=source,
        job_id=result.job_id,
        rows_read=sum(stream.rows_read or 0 for stream in records),
        rows_written=sum(stream.rows_written for stream in records),
        streams=records,
    )


def _refreshed(
    connection: AirbyteConnection, refresh: bool, streams: list[str] | None
) -> list[ReplicatedStream] | None:
    """Return the streams to refresh, an empty list for all of them, None for an ordinary sync."""
    if streams and not refresh:
        raise NoSuchStream(
            f"A sync of {connection.name} is always of all its streams; only a refresh may be of some",
            state="nothing was started",
            next_command="leave out `streams`, or set `refresh`",
        )
    return connection.named_streams(streams or []) if refresh else None


def _look_at_source(connection: AirbyteConnection, warehouse: Warehouse) -> Inspection:
    """Compare the source's tables with what is expected, and say what is otherwise."""
    logger = get_run_logger()
    try:
        source = cast(SourceDatabase, SourceDatabase.load(f"{connection.name}-source"))
    except NoSuchBlock:
        logger.warning(
            "The tables of %s are not compared with its declaration: there is no block %s-source. "
            "Next: floe connections apply",
            connection.name,
            connection.name,
        )
        return Inspection([], [])
    with warehouse.connect() as database:
        seen = inspect(source, connection, database)
    for change in seen.changes:
        logger.warning("The source of %s has changed: %s", connection.name, change)
    refuse(connection.name, seen.changes, connection.schema_changes)
    return seen


class _Sync:
    """This run's sync, over several tries: no try starts one while another may run."""

    def __init__(
        self, connection: AirbyteConnection, bars: StreamBars, refresh: list[ReplicatedStream] | None
    ) -> None:
        self._connection, self._bars, self._refresh = connection, bars, refresh
        self._sync: AirbyteSync | None = None
        self._before: int | None = None

    def to_its_end(self) -> AirbyteSync:
        """Start the sync or attach to it, and wait; again for the same one if we only lost sight of it."""
        if self._sync is None:
            if self._before is None:
                self._before = newest_job_before(self._connection.newest_job_id)
            self._sync = self._connection.trigger(after=self._before, refresh=self._refresh)
        try:
            self._sync.wait_for_completion(on_progress=self._bars.show)
        except AirbyteSyncStalled:
            # It was cancelled, so the next try needs another.
            self._sync = None
            raise
        return self._sync


def _record(
    connection: AirbyteConnection,
    warehouse: Warehouse,
    sync: AirbyteSync,
    seen: Inspection,
    refreshed: list[ReplicatedStream] | None,
) -> list[StreamRecord]:
    outcome = sync.outcome()
    # The other streams of the connection were not looked at: they are neither fresh nor remembered.
    synced = connection.model_copy(update={"streams": tuple(refreshed)}) if refreshed else connection
    with warehouse.connect() as database:
        memory = seen.memory if outcome.status == "succeeded" and not refreshed else []
        streams = record_sync(database, synced, outcome, also=memory)
        _record_forgotten(database, connection)
    return streams


def _record_forgotten(database: Database, connection: AirbyteConnection) -> None:
    """Record earlier syncs whose run did not live to do it; what is in their way is none of this run's."""
    try:
        recorded = recorded_syncs(database, connection.name)
        for sync in connection.ended_syncs():
            if sync.job_id not in recorded:
                record_sync(database, connection, sync.outcome())
    except FloeError as error:
        get_run_logger().warning("Earlier syncs are not all in ops.syncs: %s", error)


def _publish(source: str, job_id: int, streams: list[StreamRecord], changes: list[SchemaChange]) -> None:
    create_table_artifact(
        key=artifact_key("replicate", source),
        table=[
            {
                "stream": stream.stream,
                "rows read": stream.rows_read,
                "rows written": stream.rows_written,
                "bytes": stream.bytes,
                "changed in the source": "; ".join(
                    change.what
                    for change in changes
                    if change.stream == f"{stream.namespace}.{stream.stream}"
                ),
            }
            for stream in streams
        ],
        description=f"Airbyte job {job_id} of {source}",
    )
