"""Airbyte as Prefect blocks: a server, and connections that are triggered, waited for and read.

Names and protocol are those of the retired prefect-airbyte (`trigger` → `wait_for_completion` →
`fetch_result`), the implementation is its own: see `blocks/airbyte_client.py` for the calls and
`blocks/airbyte_watch.py` for the patience. Each method has an asynchronous twin with `a` before its name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import BaseModel, Field, SecretStr, model_validator

from blocks.airbyte_client import AirbyteClient, Credentials, conflicts
from blocks.airbyte_errors import (
    AirbyteBusy,
    AirbyteConnectionUnusable,
    AirbyteNotFound,
    AirbyteRequestRefused,
    AirbyteSyncCancelled,
    AirbyteSyncFailed,
    AirbyteUnauthorized,
    AirbyteUnreachable,
)
from blocks.airbyte_watch import KNOWN, TERMINAL, JobProgress, Patience, StreamCounts, SyncWatch, read_job
from blocks.errors import FloeError
from blocks.strict_block import StrictBlock

Listener = Callable[[JobProgress], None]
TRIGGER_TRIES = 4


class AirbyteSyncResult(BaseModel):
    """What a finished sync did, summed over its attempts.

    Attributes:
        job_id: Airbyte's id of the job, `sync_id` in the raw rows' `_airbyte_meta`.
        started_at: when the job was created.
        ended_at: when it ended.
        attempts: how often Airbyte tried; 0 where it does not say.
        rows_written: rows committed, in the server's own count.
        bytes: of the rows.
        streams: per stream; empty where the server gives no statistics per stream.
    """

    job_id: int
    started_at: datetime
    ended_at: datetime
    attempts: int
    rows_written: int
    bytes: int
    streams: tuple[StreamCounts, ...]


class AirbyteServer(StrictBlock):
    """An Airbyte server and the credentials for its API."""

    _block_type_name = "Airbyte Server"
    _block_type_slug = "airbyte-server"
    _description = "An Airbyte server, by its address and one kind of credentials."

    server_url: str = Field(description="root of the server, e.g. http://127.0.0.1:8006")
    client_id: str | None = Field(None, description="of an OAuth application; Airbyte 1.0 and newer")
    client_secret: SecretStr | None = Field(None, description="of that application")
    token: SecretStr | None = Field(None, description="a bearer token made elsewhere")
    username: str | None = Field(None, description="basic authentication, for servers older than 1.0")
    password: SecretStr | None = Field(None, description="of that user")
    timeout_seconds: float = Field(30.0, gt=0, description="for one answer")

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        kinds = [
            self.client_id is not None and self.client_secret is not None,
            self.token is not None,
            self.username is not None and self.password is not None,
        ]
        if sum(kinds) != 1:
            raise ValueError("give client_id and client_secret, or token, or username and password")
        return self

    def get_client(self) -> AirbyteClient:
        """Return a client; nothing is sent yet."""

        def plain(secret: SecretStr | None) -> str | None:
            return secret.get_secret_value() if secret is not None else None

        credentials = Credentials(
            client_id=self.client_id,
            client_secret=plain(self.client_secret),
            bearer=plain(self.token),
            username=self.username,
            password=plain(self.password),
        )
        return AirbyteClient(self.server_url, credentials, timeout_seconds=self.timeout_seconds)


class AirbyteSync(JobRun[AirbyteSyncResult]):
    """One job of a connection, started by us or found running."""

    def __init__(self, connection: AirbyteConnection, client: AirbyteClient, job: dict[str, Any]) -> None:
        """Take a job as the public API showed it."""
        self._connection = connection
        self._client = client
        self._details_served = True
        self._said: set[str] = set()
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
        self.progress = read_job(job, self._details())
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
        progress = self.progress if self.progress.is_terminal else self.look()
        name = self._connection.name
        if progress.status == "failed":
            raise AirbyteSyncFailed(
                f"Sync of {name} (job {self.job_id}) failed: "
                + ("; ".join(progress.failures) or "Airbyte gave no reason"),
                state="streams that were committed before stay; the others keep their earlier rows",
                next_command=f"{self._client.server_url}, then floe run replicate/{name}",
            )
        if progress.status == "cancelled":
            raise AirbyteSyncCancelled(
                f"Sync of {name} (job {self.job_id}) was cancelled",
                state="streams that were committed before stay; the others keep their earlier rows",
                next_command=f"floe run replicate/{name}",
            )
        if progress.status != "succeeded":
            raise AirbyteBusy(f"Sync of {name} (job {self.job_id}) is still {progress.status}")
        return AirbyteSyncResult(
            job_id=self.job_id,
            started_at=progress.started_at,
            ended_at=progress.updated_at,
            attempts=progress.attempts,
            rows_written=progress.rows,
            bytes=progress.bytes,
            streams=progress.streams or (),
        )

    async def afetch_result(self) -> AirbyteSyncResult:
        """Return what `fetch_result` does."""
        return await asyncio.to_thread(self.fetch_result)

    def cancel(self) -> None:
        """Cancel the job."""
        self._client.cancel_job(self.job_id)

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
        connection = self._connection
        return SyncWatch(connection.name, self.job_id, connection.patience(), time.monotonic())

    def _details(self) -> dict[str, Any] | None:
        if not self._details_served:
            return None
        try:
            return self._client.job_details(self.job_id)
        except (AirbyteUnauthorized, AirbyteNotFound, AirbyteRequestRefused) as error:
            # The job itself was answered a moment ago: this server only serves the public API.
            self._details_served = False
            self.logger.info("No statistics per stream and no stall detection: %s", error.what)
            return None

    def _give_up(self, error: BaseException) -> None:
        """Cancel the job, unless we merely lost sight of it or were refused."""
        lost = isinstance(error, (AirbyteUnreachable, AirbyteUnauthorized, AirbyteNotFound))
        if lost or isinstance(error, AirbyteRequestRefused):
            return
        self.logger.warning("Cancelling job %s of %s", self.job_id, self._connection.name)
        with suppress(FloeError):
            self.cancel()


class AirbyteConnection(StrictBlock, JobBlock[AirbyteSyncResult]):
    """One connection of an Airbyte server: a source database replicated into a schema of the warehouse."""

    _block_type_name = "Airbyte Connection"
    _block_type_slug = "airbyte-connection"
    _description = "An Airbyte connection that can be synced."

    server: AirbyteServer = Field(description="the server that has the connection")
    connection_id: str = Field(description="Airbyte's id of the connection")
    name: str = Field(description="the source's name, as in deployments/connections")
    destination_schema: str = Field(description="schema of the raw tables in the warehouse")
    deadline_seconds: float = Field(6 * 3600.0, gt=0, description="for one sync; then it is cancelled")
    stall_seconds: float = Field(
        30 * 60.0, gt=0, description="without progress while it runs; then it is cancelled"
    )
    poll_seconds: float = Field(5.0, gt=0, description="longest pause between two looks at the job")
    tolerated_poll_failures: int = Field(8, ge=0, description="looks in a row that may fail")

    def patience(self) -> Patience:
        """Return how long to wait for a job."""
        return Patience(
            self.deadline_seconds, self.stall_seconds, self.poll_seconds, self.tolerated_poll_failures
        )

    def trigger(self) -> AirbyteSync:  # type: ignore[override]
        """Start a sync, or attach to the one that runs already.

        Never starts a second sync: when an answer is lost, the server is asked for its newest job
        before anything is sent again.

        Raises:
            AirbyteBusy: a job that is no sync holds the connection.
            AirbyteConnectionUnusable: the connection is not active.
            AirbyteUnreachable: the server could not be reached after several tries.
            PermanentError: the server refuses.
        """
        client = self.server.get_client()
        newest = self._newest(client)
        known = int(newest["jobId"]) if newest else 0
        for attempt in range(1, TRIGGER_TRIES + 1):
            if newest and (str(newest["status"]) not in TERMINAL or int(newest["jobId"]) > known):
                return self._attach(client, newest)
            try:
                job = client.create_job(self.connection_id)
            except AirbyteUnreachable as error:
                if attempt == TRIGGER_TRIES:
                    raise
                pause = error.retry_after if error.retry_after is not None else self._pause(attempt)
                self.logger.warning("%s; looking whether the sync began in %.1f s", error.what, pause)
                time.sleep(min(pause, 60.0))
            except AirbyteRequestRefused as error:
                if not conflicts(error):
                    raise
                self._refuse_unless_active(client)
            else:
                self.logger.info("Airbyte job %s: sync of %s started", job["jobId"], self.name)
                return AirbyteSync(self, client, job)
            newest = self._newest(client)
        raise AirbyteBusy(
            f"Airbyte keeps answering that {self.name} is busy, and shows no job that runs",
            next_command=f"floe run replicate/{self.name}",
        )

    async def atrigger(self) -> AirbyteSync:
        """Start a sync as `trigger` does."""
        return await asyncio.to_thread(self.trigger)

    def _pause(self, attempt: int) -> float:
        return min(30.0, self.poll_seconds * 0.2 * 2.0 ** (attempt - 1))

    def _newest(self, client: AirbyteClient) -> dict[str, Any] | None:
        """Return the connection's newest job, tolerating a server that hiccups."""
        for attempt in range(1, TRIGGER_TRIES + 1):
            try:
                jobs = client.jobs(self.connection_id)
            except AirbyteUnreachable as error:
                if attempt == TRIGGER_TRIES:
                    raise
                pause = error.retry_after if error.retry_after is not None else self._pause(attempt)
                self.logger.warning("%s; asking again in %.1f s", error.what, pause)
                time.sleep(min(pause, 60.0))
            else:
                return jobs[0] if jobs else None
        raise AssertionError("unreachable")

    def _attach(self, client: AirbyteClient, job: dict[str, Any]) -> AirbyteSync:
        if job.get("jobType") != "sync":
            raise AirbyteBusy(
                f"Connection {self.name} runs a {job.get('jobType')} (job {job['jobId']})",
                state="no sync was started",
                next_command=f"floe run replicate/{self.name} when it has ended",
            )
        self.logger.info("Airbyte job %s of %s runs already: attached to it", job["jobId"], self.name)
        return AirbyteSync(self, client, job)

    def _refuse_unless_active(self, client: AirbyteClient) -> None:
        status = str(client.connection(self.connection_id).get("status"))
        if status in ("inactive", "deprecated", "locked"):
            raise AirbyteConnectionUnusable(
                f"Connection {self.name} is {status} on {client.server_url}",
                state="no sync was started",
                next_command="floe connections apply",
            )
