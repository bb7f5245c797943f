"""Runs jobs: one worker process each, two at a time, retries, cancellation, recovery after a crash."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from deployments.local.airbyte.job_spec import (
    AttemptFailure,
    JobSpec,
    PostgresAddress,
    StreamProgress,
    StreamSpec,
    WorkerMessage,
)
from deployments.local.airbyte.store import ACTIVE, Store
from deployments.local.airbyte.targets import lake_settings, target_of

log = logging.getLogger("deployments.local.airbyte")
_messages: TypeAdapter[StreamProgress | AttemptFailure] = TypeAdapter(WorkerMessage)


@dataclass(frozen=True)
class RunnerSettings:
    """How jobs are run.

    Attributes:
        workers: jobs at once.
        attempts: how often a job is tried before it has failed.
        retry_seconds: pause before the second attempt, doubled for each further one.
        memory_limit: DuckDB's, per worker.
    """

    workers: int = 2
    attempts: int = 5
    retry_seconds: float = 2.0
    memory_limit: str = "512MB"


@dataclass
class _Running:
    cancelled: threading.Event = field(default_factory=threading.Event)
    process: subprocess.Popen[bytes] | None = None


class JobRunner:
    """Owns the worker processes of this service."""

    def __init__(self, store: Store, home: Path, settings: RunnerSettings) -> None:
        self._store = store
        self._home = home
        self._settings = settings
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="job")
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Take up what an earlier life of the service left: orphaned attempts failed, their jobs retried."""
        shutil.rmtree(self._home / "scratch", ignore_errors=True)
        for job in reversed(self._store.jobs(statuses=ACTIVE)):
            self._close_attempts(job["id"], "the service stopped while this attempt ran")
            if job["status"] == "running":
                self._store.move_job(job["id"], "incomplete")
            log.warning("job %s was not finished by an earlier run of this service", job["id"])
            self.submit(job["id"])

    def _close_attempts(self, job_id: int, reason: str) -> None:
        for attempt in self._store.attempts(job_id):
            if attempt["status"] == "running":
                self._store.end_attempt(job_id, attempt["number"], [_platform_failure(reason)])

    def submit(self, job_id: int) -> None:
        """Queue a job."""
        with self._lock:
            self._running[job_id] = _Running()
        self._pool.submit(self._run_logged, job_id)

    def cancel(self, job_id: int) -> bool:
        """Cancel a job in whatever phase it is; tell whether it was still active.

        The job keeps its place until its worker is gone, so that a new one cannot overlap with it.
        """
        with self._lock:
            running = self._running.get(job_id)
        if running is None:
            return self._store.move_job(job_id, "cancelled")
        running.cancelled.set()
        if self._store.move_job(job_id, "cancelled", only_from=("pending",)):
            return True
        with self._lock:
            if running.process is not None:
                running.process.kill()
        return True

    def wait_for_end(self, job_id: int, seconds: float = 15.0) -> None:
        """Wait until a cancelled job has let go of its connection."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            job = self._store.job(job_id)
            if job is None or job["status"] not in ACTIVE:
                return
            time.sleep(0.02)

    def stop(self) -> None:
        """End every worker and wait for it; their jobs are taken up at the next start."""
        self._stopping.set()
        with self._lock:
            for running in self._running.values():
                running.cancelled.set()
                if running.process is not None:
                    running.process.kill()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run_logged(self, job_id: int) -> None:
        try:
            self._run(job_id)
        except Exception as error:  # the last frame of a pool thread: unseen, the job would never end
            log.exception("job %s", job_id)
            self._close_attempts(job_id, f"the service could not run the job: {error}")
            self._store.move_job(job_id, "failed")
        finally:
            with self._lock:
                self._running.pop(job_id, None)

    def _run(self, job_id: int) -> None:
        """Try the job until it succeeded, was cancelled, or has used up its attempts."""
        running = self._running[job_id]
        while not running.cancelled.is_set():
            if not self._store.move_job(job_id, "running"):
                return
            number = self._store.begin_attempt(job_id)
            log.info("job %s attempt %s starts", job_id, number)
            failures = self._attempt(job_id, number, running)
            if self._stopping.is_set():
                return
            if running.cancelled.is_set():
                failures = [_cancellation()]
            self._store.end_attempt(job_id, number, failures)
            log.info("job %s attempt %s ended: %s", job_id, number, failures[0].message if failures else "ok")
            if not failures:
                self._store.move_job(job_id, "succeeded")
                return
            permanent = self._pause(job_id, failures) or all(
                failure.failure_type == "config_error" for failure in failures
            )
            if not running.cancelled.is_set() and (permanent or number + 1 >= self._settings.attempts):
                self._store.move_job(job_id, "failed")
                return
            self._store.move_job(job_id, "incomplete")
            running.cancelled.wait(self._settings.retry_seconds * 2**number)
        if not self._stopping.is_set():
            self._store.move_job(job_id, "cancelled")

    def _pause(self, job_id: int, failures: list[AttemptFailure]) -> bool:
        """Pause the job's connection if a failure asks for it, as Airbyte does; tell whether one did."""
        job = self._store.job(job_id)
        reasons = [failure.message for failure in failures if failure.pauses_connection]
        connection = self._store.get("connection", job["connection_id"]) if job and reasons else None
        if connection is None:
            return False
        body = {**connection["body"], "status": "inactive"}
        self._store.change("connection", connection["id"], connection["name"], body)
        log.warning("connection %s is inactive now: %s", connection["name"], "; ".join(reasons))
        return True

    def _attempt(self, job_id: int, number: int, running: _Running) -> list[AttemptFailure]:
        scratch = self._home / "scratch" / f"{job_id}-{number}"
        logs = self._home / "logs"
        logs.mkdir(exist_ok=True)
        with (logs / f"job-{job_id}.log").open("ab") as log_file:
            with self._lock:
                if running.cancelled.is_set():
                    return [_cancellation()]
                process = subprocess.Popen(
                    [sys.executable, "-m", "deployments.local.airbyte.worker", str(scratch)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log_file,
                    env=_worker_environment(),
                )
                running.process = process
            try:
                return self._listen(job_id, number, process)
            finally:
                process.kill()
                process.wait()
                shutil.rmtree(scratch, ignore_errors=True)

    def _listen(self, job_id: int, number: int, process: subprocess.Popen[bytes]) -> list[AttemptFailure]:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101
        failures: list[AttemptFailure] = []
        # Standard input stays open: its end tells the worker that this service is gone.
        with process.stdin, process.stdout:
            try:
                process.stdin.write(self._spec(job_id, number).model_dump_json().encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                return [_platform_failure("the worker ended before it began")]
            for line in process.stdout:
                try:
                    message = _messages.validate_json(line)
                except ValidationError:
                    log.warning("job %s: the worker said %r", job_id, line[:200])
                    continue
                if isinstance(message, StreamProgress):
                    self._store.note_progress(job_id, number, message)
                else:
                    failures.append(message)
            code = process.wait()
        if code != 0 and not failures:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            failures.append(_platform_failure(f"the worker {how}, see the log of job {job_id}"))
        return failures

    def _spec(self, job_id: int, number: int) -> JobSpec:
        job = self._store.job(job_id)
        assert job is not None  # noqa: S101
        connection = self._need("connection", job["connection_id"])
        source = self._need("source", connection["body"]["sourceId"])
        destination = self._need("destination", connection["body"]["destinationId"])
        address = PostgresAddress(
            **{key: source["body"][key] for key in PostgresAddress.model_fields if key in source["body"]}
        )
        before = self._reported(job_id)
        wanted = json.loads(job["streams"]) if job["streams"] else None
        return JobSpec(
            job_id=job_id,
            attempt=number,
            job_type=job["type"],
            connection_id=connection["id"],
            source=address,
            destination=lake_settings(destination["body"]),
            streams=[
                _stream(connection["body"], destination["body"], stream, before)
                for stream in connection["body"]["configurations"]["streams"]
                if wanted is None or [stream["namespace"], stream["name"]] in wanted
            ],
            schema_updates=connection["body"]["nonBreakingSchemaUpdatesBehavior"],
            memory_limit=self._settings.memory_limit,
        )

    def _reported(self, job_id: int) -> dict[tuple[str, str], tuple[int, int]]:
        """Return rows read and written per stream, of streams that earlier attempts reported as done."""
        totals: dict[tuple[str, str], tuple[int, int]] = {}
        for attempt in self._store.attempts(job_id):
            for stream in attempt["streams"]:
                if stream.done:
                    emitted, committed = totals.get((stream.namespace, stream.name), (0, 0))
                    totals[stream.namespace, stream.name] = (
                        emitted + stream.emitted,
                        committed + stream.committed,
                    )
        return totals

    def _need(self, kind: Any, identity: str) -> dict[str, Any]:
        found = self._store.get(kind, identity)
        if found is None:
            raise LookupError(f"{kind} {identity} was deleted")
        return found


def _stream(
    connection: dict[str, Any],
    destination: dict[str, Any],
    stream: dict[str, Any],
    before: dict[tuple[str, str], tuple[int, int]],
) -> StreamSpec:
    schema, table = target_of(connection, destination, stream)
    emitted, committed = before.get((stream["namespace"], stream["name"]), (0, 0))
    selected = [field["fieldPath"][0] for field in stream.get("selectedFields") or []]
    return StreamSpec(
        namespace=stream["namespace"],
        name=stream["name"],
        sync_mode=stream["syncMode"],
        cursor_field=(stream.get("cursorField") or [None])[0],
        primary_key=[path[0] for path in stream.get("primaryKey") or []],
        selected_fields=selected or None,
        target_schema=schema,
        target_table=table,
        emitted_before=emitted,
        committed_before=committed,
    )


def _worker_environment() -> dict[str, str]:
    """Return our environment without what a worker need not know or what would mislead libpq."""
    hidden = ("FLOE_", "PG", "PREFECT_", "AWS_", "SNOWFLAKE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    marks = {name: os.environ[name] for name in ("FLOE_STACK", "FLOE_HOME") if name in os.environ}
    return kept | marks


def _platform_failure(message: str) -> AttemptFailure:
    return AttemptFailure(origin="airbyte_platform", failure_type="system_error", message=message)


def _cancellation() -> AttemptFailure:
    return AttemptFailure(
        origin="airbyte_platform", failure_type="manual_cancellation", message="the job was cancelled"
    )
