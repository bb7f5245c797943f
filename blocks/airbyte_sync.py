"""One job of an Airbyte connection: looking at it, waiting for it, reading what it did, cancelling it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from prefect.blocks.abstract import JobRun
from pydantic import BaseModel

from blocks.airbyte_client import AirbyteClient
from blocks.airbyte_errors import (
    AirbyteBusy,
    AirbyteNotFound,
    AirbyteRequestRefused,
    AirbyteSyncCancelled,
    AirbyteSyncFailed,
    AirbyteUnauthorized,
    AirbyteUnreachable,
)
from blocks.airbyte_watch import KNOWN, TERMINAL, JobProgress, Patience, StreamCounts, SyncWatch, read_job
from blocks.errors import FloeError

Listener = Callable[[JobProgress], None]
# A cancel that is lost leaves a job that blocks the connection. A flow run that is being killed has
# 30 seconds, so the pauses stay short.
CANCEL_TRIES = 5
_LONGEST_CANCEL_PAUSE = 2.0
# Looks at the statistics of a job that has ended.
STATISTICS_TRIES = 3


class AirbyteSyncResult(BaseModel):
    """What a finished sync did, summed over its attempts.

    Attributes:
        job_id: Airbyte's id of the job, `sync_id` in the raw rows' `_airbyte_meta`.
        status: how it ended: succeeded, failed or cancelled.
        started_at: when the job was created.
        ended_at: when it ended.
        attempts: how often Airbyte tried; 0 where it does not say.
        rows_written: rows committed, in the server's own count.
        bytes: of the rows.
        streams: per stream; empty where the server gives no statistics per stream.
        complete: whether `streams` are of the job's end. If not, they are what was seen last.
    """

    job_id: int
    status: str = "succeeded"
    started_at: datetime
    ended_at: datetime
    attempts: int
    rows_written: int
    bytes: int
    streams: tuple[StreamCounts, ...]
    complete: bool = True


class AirbyteSync(JobRun[AirbyteSyncResult]):
    """One job of a connection, started by us or found running."""

    def __init__(self, name: str, patience: Patience, client: AirbyteClient, job: dict[str, Any]) -> None:
        """Take a job as the public API showed it.

        Args:
            name: of the connection, for messages.
            patience: how long to wait for it.
            client: of the server that runs it.
            job: `JobResponse`.
        """
        self._name = name
        self._patience = patience
        self._client = client
        self._details_served = True
        self._seen_details: dict[str, Any] | None = None
        self._said: set[str] = set()
        self._looked = False
        self.progress: JobProgress = read_job(job, None)

    @property
    def job_id(self) -> int:
        """Airbyte's id of the job."""
        return self.progress.job_id

    def look(self) -> JobProgress:
        """Ask the server once.

        Raises:
            AirbyteUnreachable: it cannot be reached or cannot serve now.
            PermanentError: it refuses to answer.
        """
        job = self._client.job(self.job_id)
        details, current = self._details(last=str(job["status"]) in TERMINAL)
        self.progress = read_job(job, details, current=current)
        self._looked = True
        status = self.progress.status
        if status not in KNOWN and status not in self._said:
            self._said.add(status)
            self.logger.warning("Airbyte says that job %s is %r, which is new; waiting", self.job_id, status)
        return self.progress

    def wait_for_completion(  # type: ignore[override]  # Prefect's is a coroutine in type only
        self, on_progress: Listener | None = None
    ) -> None:
        """Wait until the job has ended, however it ended.

        A cancelled or crashing flow run takes its job with it.

        Args:
            on_progress: is told each look at the job.

        Raises:
            AirbyteDeadlineExceeded: it took too long and was cancelled.
            AirbyteSyncStalled: it stopped moving and was cancelled.
            AirbyteUnreachable: too many looks in a row failed; the job may still run.
        """
        watch = self._watch()
        try:
            while (pause := self._step(watch, on_progress)) is not None:
                time.sleep(pause)
        except BaseException as error:
            self._give_up(error)
            raise

    async def await_for_completion(self, on_progress: Listener | None = None) -> None:
        """Wait as `wait_for_completion` does, without blocking the event loop."""
        watch = self._watch()
        try:
            pause = await asyncio.to_thread(self._step, watch, on_progress)
            while pause is not None:
                await asyncio.sleep(pause)
                pause = await asyncio.to_thread(self._step, watch, on_progress)
        except BaseException as error:
            # No await here: a cancelled task would be interrupted again.
            self._give_up(error)
            raise

    def fetch_result(self) -> AirbyteSyncResult:  # type: ignore[override]
        """Return what the finished job did.

        Raises:
            AirbyteSyncFailed: it failed; the message has Airbyte's summary.
            AirbyteSyncCancelled: somebody cancelled it.
            AirbyteBusy: it has not ended.
        """
        result, name = self.outcome(), self._name
        if result.status == "failed":
            raise AirbyteSyncFailed(
                f"Sync of {name} (job {self.job_id}) failed: "
                + ("; ".join(self.progress.failures) or "Airbyte gave no reason"),
                state="streams that were committed before stay; the others keep their earlier rows",
                next_command=f"{self._client.server_url}, then floe run replicate/{name}",
            )
        if result.status == "cancelled":
            raise AirbyteSyncCancelled(
                f"Sync of {name} (job {self.job_id}) was cancelled",
                state="streams that were committed before stay; the others keep their earlier rows",
                next_command=f"floe run replicate/{name}",
            )
        return result

    def outcome(self) -> AirbyteSyncResult:
        """Return what the ended job did, however it ended.

        Raises:
            AirbyteBusy: it has not ended.
        """
        progress = self.progress if self.progress.is_terminal and self._looked else self.look()
        if not progress.is_terminal:
            raise AirbyteBusy(f"Sync of {self._name} (job {self.job_id}) is still {progress.status}")
        return AirbyteSyncResult(
            job_id=self.job_id,
            status=progress.status,
            started_at=progress.started_at,
            ended_at=progress.updated_at,
            attempts=progress.attempts,
            rows_written=progress.rows,
            bytes=progress.bytes,
            streams=progress.streams or (),
            complete=progress.current,
        )

    async def afetch_result(self) -> AirbyteSyncResult:
        """Return what `fetch_result` does."""
        return await asyncio.to_thread(self.fetch_result)

    def cancel(self) -> None:
        """Cancel the job, in a few tries.

        Raises:
            AirbyteUnreachable: the server did not take it; the job may still run.
            PermanentError: the server refuses.
        """
        for attempt in range(1, CANCEL_TRIES + 1):
            try:
                self._client.cancel_job(self.job_id)
            except AirbyteUnreachable as error:
                if attempt == CANCEL_TRIES:
                    raise
                self.logger.warning("%s; cancelling again", error.what)
                time.sleep(min(_LONGEST_CANCEL_PAUSE, self._patience.pause(attempt)))
            else:
                return

    async def acancel(self) -> None:
        """Cancel the job."""
        await asyncio.to_thread(self.cancel)

    def _step(self, watch: SyncWatch, on_progress: Listener | None) -> float | None:
        """Look once; return the pause before the next look, None when the job has ended."""
        try:
            progress = self.look()
        except AirbyteUnreachable as error:
            pause = watch.failed(error, time.monotonic())
            self.logger.warning("%s; looking again in %.1f s", error.what, pause)
            return pause
        if on_progress is not None:
            on_progress(progress)
        return None if progress.is_terminal else watch.saw(progress, time.monotonic())

    def _watch(self) -> SyncWatch:
        return SyncWatch(self._name, self.job_id, self._patience, time.monotonic())

    def _details(self, *, last: bool) -> tuple[dict[str, Any] | None, bool]:
        """Return the job's statistics and whether they are of now.

        Trouble with them is none of the job's: what was seen before is shown on. Only at the end it is
        worth to ask again, since then nothing newer will come.
        """
        for attempt in range(1, (STATISTICS_TRIES if last else 1) + 1):
            if not self._details_served:
                return self._seen_details, self._seen_details is None
            try:
                self._seen_details = self._client.job_details(self.job_id)
            except (AirbyteUnauthorized, AirbyteNotFound, AirbyteRequestRefused) as error:
                # The job itself was answered a moment ago: this server only serves the public API.
                self._details_served = False
                self.logger.info("No statistics per stream and no stall detection: %s", error.what)
                return self._seen_details, self._seen_details is None
            except AirbyteUnreachable as error:
                if "statistics" not in self._said:
                    self._said.add("statistics")
                    self.logger.warning("No new statistics per stream: %s; the sync goes on", error.what)
                if last and attempt < STATISTICS_TRIES:
                    time.sleep(self._patience.pause(attempt))
            else:
                return self._seen_details, True
        return self._seen_details, False

    def _give_up(self, error: BaseException) -> None:
        """Cancel the job, unless we merely lost sight of it or were refused."""
        lost = isinstance(error, (AirbyteUnreachable, AirbyteUnauthorized, AirbyteNotFound))
        if lost or isinstance(error, AirbyteRequestRefused):
            return
        self.logger.warning("Cancelling job %s of %s", self.job_id, self._name)
        try:
            self.cancel()
        except FloeError as failure:
            # What ends the run must not be hidden by this.
            self.logger.error(
                "Job %s of %s may still run, cancelling it failed: %s", self.job_id, self._name, failure.what
            )
