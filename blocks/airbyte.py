"""Airbyte as Prefect blocks: a server, and connections that are triggered, waited for and read.

Names and protocol are those of the retired prefect-airbyte (`trigger` → `wait_for_completion` →
`fetch_result`), the implementation is its own: `blocks/airbyte_client.py` makes the calls,
`blocks/airbyte_sync.py` is a running job, `blocks/airbyte_watch.py` decides how long to wait for it.
Each method has an asynchronous twin with `a` before its name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from prefect.blocks.abstract import JobBlock
from pydantic import ConfigDict, Field, SecretStr, model_validator

from blocks.airbyte_client import AirbyteClient, Credentials
from blocks.airbyte_errors import (
    AirbyteBusy,
    AirbyteConnectionUnusable,
    AirbyteRequestRefused,
    AirbyteUnreachable,
    NoSuchStream,
)
from blocks.airbyte_streams import ReplicatedStream, SchemaChanges
from blocks.airbyte_sync import AirbyteSync, AirbyteSyncResult
from blocks.airbyte_watch import TERMINAL, Patience
from blocks.errors import FloeError
from blocks.strict_block import StrictBlock

__all__ = ["AirbyteConnection", "AirbyteServer", "AirbyteSync", "AirbyteSyncResult"]

TRIGGER_TRIES = 4


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
    public_path: str = Field("/api/public/v1", description="of the public API; /v1 on Airbyte Cloud")
    config_path: str | None = Field(
        "/api/v1", description="of the Config API; None where there is none, as on Airbyte Cloud"
    )

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
        return AirbyteClient(
            self.server_url,
            credentials,
            timeout_seconds=self.timeout_seconds,
            public_path=self.public_path,
            config_path=self.config_path,
        )


class AirbyteConnection(StrictBlock, JobBlock[AirbyteSyncResult]):
    """One connection of an Airbyte server: a source database replicated into a schema of the warehouse."""

    # Again, since of several bases the last one's configuration counts: Prefect's, which keeps any field.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Airbyte Connection"
    _block_type_slug = "airbyte-connection"
    _description = "An Airbyte connection that can be synced."
    saved_by = "floe connections apply"

    server: AirbyteServer = Field(description="the server that has the connection")
    connection_id: str = Field(description="Airbyte's id of the connection")
    name: str = Field(description="the source's name, as in deployments/connections")
    destination_schema: str = Field(description="schema of the raw tables in the warehouse")
    table_prefix: str = Field("", description="put before the name of every raw table")
    streams: tuple[ReplicatedStream, ...] = Field((), description="what it replicates, and where to")
    schema_changes: SchemaChanges = Field(
        default_factory=SchemaChanges, description="what to do when the source looks otherwise"
    )
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

    def stream(self, namespace: str | None, name: str) -> ReplicatedStream:
        """Return a stream that the server names, declared or not.

        Args:
            namespace: its schema in the source; None where the server does not say it.
            name: its name.
        """
        named = [stream for stream in self.streams if stream.name == name]
        found = [stream for stream in named if stream.namespace == namespace]
        if found or (namespace is None and len(named) == 1):
            return (found or named)[0]
        schema = namespace or "public"
        return ReplicatedStream(
            namespace=schema,
            name=name,
            raw_schema=self.destination_schema.replace("${SOURCE_NAMESPACE}", schema),
            raw_table=self.table_prefix + name,
        )

    def newest_job_id(self) -> int:
        """Return the id of the connection's newest job, 0 when it never had one.

        Raises:
            AirbyteUnreachable: the server could not be reached after several tries.
            PermanentError: the server refuses.
        """
        jobs = self._jobs(self.server.get_client())
        return int(jobs[0]["jobId"]) if jobs else 0

    def ended_syncs(self) -> list[AirbyteSync]:
        """Return the connection's latest syncs that have ended, oldest first.

        Raises:
            AirbyteUnreachable: the server could not be reached after several tries.
            PermanentError: the server refuses.
        """
        client = self.server.get_client()
        return [
            AirbyteSync(self.name, self.patience(), client, job)
            for job in reversed(self._jobs(client))
            if job.get("jobType") == "sync" and str(job["status"]) in TERMINAL
        ]

    def named_streams(self, names: Sequence[str]) -> list[ReplicatedStream]:
        """Return the streams of these names, `schema.table` or `table`.

        Raises:
            NoSuchStream: the connection has none of a name, or several.
        """
        found = []
        for name in names:
            same = [stream for stream in self.streams if name in (stream.name, stream.full_name)]
            if len(same) != 1:
                known = ", ".join(stream.full_name for stream in same or self.streams)
                raise NoSuchStream(
                    f"{self.name} has {'several streams' if same else 'no stream'} {name!r}: {known}",
                    state="nothing was started",
                    next_command="name each stream as schema.table",
                )
            found += same
        return found

    def trigger(  # type: ignore[override]
        self, *, after: int | None = None, refresh: Sequence[ReplicatedStream] | None = None
    ) -> AirbyteSync:
        """Start a sync, or attach to the one that runs already.

        Never starts a second sync: when an answer is lost, the server is asked for its newest job
        before anything is sent again.

        Args:
            after: the newest job before a flow run began; a sync since then that has succeeded is its
                own, from before it was interrupted, and is returned instead of starting another.
            refresh: start a job that reads these streams anew as a whole, all of them when it is empty,
                instead of a sync. It attaches only to a refresh since `after`, its own.

        Raises:
            AirbyteBusy: another kind of job holds the connection.
            AirbyteConnectionUnusable: the connection is not active.
            AirbyteUnreachable: the server could not be reached after several tries.
            PermanentError: the server refuses.
        """
        client = self.server.get_client()
        jobs = self._jobs(client)
        known = int(jobs[0]["jobId"]) if jobs else 0
        wanted = _Wanted("sync" if refresh is None else "refresh", known if after is None else after)
        if own := wanted.succeeded(jobs):
            return self._attach(client, own, wanted)
        for attempt in range(1, TRIGGER_TRIES + 1):
            if found := _running_or_newer(jobs, known):
                return self._attach(client, found, wanted)
            try:
                job = self._start(client, known, refresh)
            except AirbyteUnreachable as error:
                if attempt == TRIGGER_TRIES:
                    raise
                self._wait(f"{error.what}; looking whether the sync began", attempt, error.retry_after)
            except AirbyteRequestRefused as error:
                self._refuse_unless_active(client)
                if not error.conflict:
                    raise
                self._wait(f"{error.what}; looking for the job that runs", attempt)
            else:
                self.logger.info("Airbyte job %s: %s of %s started", job["jobId"], wanted.kind, self.name)
                return AirbyteSync(self.name, self.patience(), client, job)
            jobs = self._jobs(client)
        if found := _running_or_newer(jobs, known):
            return self._attach(client, found, wanted)
        raise AirbyteBusy(
            f"Airbyte keeps answering that {self.name} is busy, and shows no job that runs",
            next_command=f"floe run replicate/{self.name}",
        )

    async def atrigger(
        self, *, after: int | None = None, refresh: Sequence[ReplicatedStream] | None = None
    ) -> AirbyteSync:
        """Start a sync as `trigger` does."""
        return await asyncio.to_thread(self.trigger, after=after, refresh=refresh)

    def _start(
        self, client: AirbyteClient, known: int, refresh: Sequence[ReplicatedStream] | None
    ) -> dict[str, Any]:
        if refresh is None:
            return client.create_job(self.connection_id)
        client.refresh(self.connection_id, [(each.namespace, each.name) for each in refresh])
        # What a refresh answers differs between versions of Airbyte; the list shows the job that began.
        for attempt in range(1, TRIGGER_TRIES + 1):
            jobs = self._jobs(client)
            if jobs and int(jobs[0]["jobId"]) > known:
                return jobs[0]
            self._wait(f"The refresh of {self.name} is not shown yet; looking again", attempt)
        raise AirbyteBusy(
            f"Airbyte took a refresh of {self.name} and shows no job of it",
            next_command=f"look at the connection in Airbyte, then floe run replicate/{self.name}",
        )

    def _wait(self, why: str, attempt: int, seconds: float | None = None) -> None:
        pause = self.patience().pause(attempt) if seconds is None else min(seconds, 60.0)
        self.logger.warning("%s in %.1f s", why, pause)
        time.sleep(pause)

    def _jobs(self, client: AirbyteClient) -> list[dict[str, Any]]:
        """Return the connection's latest jobs, newest first, tolerating a server that hiccups."""
        for attempt in range(1, TRIGGER_TRIES + 1):
            try:
                return client.jobs(self.connection_id)
            except AirbyteUnreachable as error:
                if attempt == TRIGGER_TRIES:
                    raise
                self._wait(f"{error.what}; asking again", attempt, error.retry_after)
        raise AssertionError("unreachable")

    def _attach(self, client: AirbyteClient, job: dict[str, Any], wanted: _Wanted) -> AirbyteSync:
        if not wanted.may_be(job):
            raise AirbyteBusy(
                f"Connection {self.name} runs a {job.get('jobType')} (job {job['jobId']})",
                state=f"no {wanted.kind} was started",
                next_command=f"floe run replicate/{self.name} when it has ended",
            )
        self.logger.info(
            "Airbyte job %s of %s is there already (%s): attached to it",
            job["jobId"],
            self.name,
            job["status"],
        )
        return AirbyteSync(self.name, self.patience(), client, job)

    def _refuse_unless_active(self, client: AirbyteClient) -> None:
        """Refuse a connection that cannot be synced; say so where its state is new to us."""
        try:
            status = str(client.connection(self.connection_id)["status"])
        except FloeError as error:
            self.logger.warning("The state of connection %s is not known: %s", self.name, error.what)
            return
        if status in ("inactive", "deprecated", "locked"):
            raise AirbyteConnectionUnusable(
                f"Connection {self.name} is {status} on {client.server_url}",
                state="no sync was started",
                next_command="floe connections apply",
            )
        if status != "active":
            self.logger.warning("Airbyte says that connection %s is %r, which is new", self.name, status)


def _running_or_newer(jobs: list[dict[str, Any]], known: int) -> dict[str, Any] | None:
    """Return the newest job if it has not ended or is newer than job `known`."""
    if jobs and (str(jobs[0]["status"]) not in TERMINAL or int(jobs[0]["jobId"]) > known):
        return jobs[0]
    return None


@dataclass(frozen=True)
class _Wanted:
    """The job that a flow run wants, or has started before it was interrupted.

    Attributes:
        kind: sync or refresh.
        after: the newest job before the run began.
    """

    kind: Literal["sync", "refresh"]
    after: int

    def succeeded(self, jobs: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the newest job that is the run's own and has succeeded."""
        return next((job for job in jobs if self._is_own(job) and job["status"] == "succeeded"), None)

    def may_be(self, job: dict[str, Any]) -> bool:
        """Tell whether a job does what is wanted: every sync does, a refresh may be of other streams."""
        return self._is_own(job) or (self.kind == "sync" and job.get("jobType") == "sync")

    def _is_own(self, job: dict[str, Any]) -> bool:
        return int(job["jobId"]) > self.after and job.get("jobType") == self.kind
