"""The flow `replicate`: one source database into its raw schema, through Airbyte."""

from __future__ import annotations

import re
from typing import cast
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from pydantic import BaseModel

from blocks.airbyte import AirbyteConnection
from blocks.airbyte_watch import JobProgress, StreamCounts
from blocks.sync_log import StreamRecord, record_sync
from blocks.warehouse import Warehouse


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
def replicate(source: str) -> ReplicateResult:
    """Sync one Airbyte connection and wait for it, showing a bar per stream.

    Attaches to a sync that runs already. When this run is cancelled, so is the sync. Every sync leaves
    its rows in `ops.syncs`, also one that found nothing new, so that freshness can be told.

    Args:
        source: the database to replicate, by the name of its Airbyte Connection block

    Raises:
        AirbyteSyncFailed: Airbyte gave up; the message has its reasons.
        AirbyteUnreachable: the server did not answer, several times in a row.
    """
    connection = cast(AirbyteConnection, AirbyteConnection.load(source))
    bars = StreamBars(source)
    sync = connection.trigger()
    sync.wait_for_completion(on_progress=bars.show)
    result = sync.fetch_result()
    with cast(Warehouse, Warehouse.load("warehouse")).connect() as database:
        streams = record_sync(database, connection, result)
    bars.finish()
    _publish(source, result.job_id, streams)
    return ReplicateResult(
        source=source,
        job_id=result.job_id,
        rows_read=sum(stream.rows_read or 0 for stream in streams),
        rows_written=sum(stream.rows_written for stream in streams),
        streams=streams,
    )


class StreamBars:
    """One progress artifact per stream, `replicate-<source>-<stream>`, sent only when it has moved."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._artifacts: dict[str, UUID] = {}
        self._shown: dict[str, float] = {}

    def show(self, progress: JobProgress) -> None:
        """Show how far each stream is."""
        for stream in progress.streams or ():
            self._move(stream, _share(stream))

    def finish(self) -> None:
        """Fill every bar: the sync has succeeded."""
        for name in list(self._artifacts):
            self._set(name, 100.0, f"{name}: done")

    def _move(self, stream: StreamCounts, share: float) -> None:
        words = f"{stream.name}: {stream.rows_read} of {stream.estimated or '?'} rows"
        self._set(stream.name, share, words)

    def _set(self, name: str, share: float, words: str) -> None:
        if self._shown.get(name) == share:
            return
        self._shown[name] = share
        if name in self._artifacts:
            update_progress_artifact(self._artifacts[name], progress=share, description=words)
        else:
            key = artifact_key("replicate", self._source, name)
            created = create_progress_artifact(progress=share, key=key, description=words)
            self._artifacts[name] = cast(UUID, created)


def artifact_key(*parts: str) -> str:
    """Return an artifact key: lower-case letters, digits and dashes only, as Prefect asks for."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def _share(stream: StreamCounts) -> float:
    """Return how much of a stream is done, in whole percent."""
    if stream.estimated is None:
        return 0.0
    return 100.0 if stream.estimated == 0 else float(min(100, stream.rows_read * 100 // stream.estimated))


def _publish(source: str, job_id: int, streams: list[StreamRecord]) -> None:
    create_table_artifact(
        key=artifact_key("replicate", source),
        table=[
            {
                "stream": stream.stream,
                "rows read": stream.rows_read,
                "rows written": stream.rows_written,
                "bytes": stream.bytes,
            }
            for stream in streams
        ],
        description=f"Airbyte job {job_id} of {source}",
    )
