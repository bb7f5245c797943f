"""What is known of a running job, and when to stop waiting for it. No I/O, no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from blocks.airbyte_errors import AirbyteDeadlineExceeded, AirbyteSyncStalled, AirbyteUnreachable

Document = dict[str, Any]
TERMINAL = ("succeeded", "failed", "cancelled")
KNOWN = (*TERMINAL, "pending", "queued", "running", "incomplete")


class StreamCounts(BaseModel):
    """Rows and bytes of one stream, summed over the job's attempts.

    Attributes:
        rows_read: as emitted by the source.
        rows_written: as committed at the destination, in the server's own count.
        estimated: rows to come in all, where the server says so.
    """

    model_config = ConfigDict(frozen=True)

    namespace: str | None = None
    name: str
    rows_read: int = 0
    rows_written: int = 0
    bytes: int = 0
    estimated: int | None = None


class JobProgress(BaseModel):
    """A job as it was seen at one poll.

    Attributes:
        status: as the server says it; a newer server may say what nobody here knows.
        attempts: how many there were; none yet is normal.
        streams: None when the server gives no statistics per stream.
        current: whether `streams` are of this look, and not of an earlier one since the server had
            trouble with its statistics.
        failures: Airbyte's failure summary of the last failed attempt.
    """

    model_config = ConfigDict(frozen=True)

    job_id: int
    status: str
    started_at: datetime
    updated_at: datetime
    rows: int = 0
    bytes: int = 0
    attempts: int = 0
    streams: tuple[StreamCounts, ...] | None = None
    current: bool = True
    failures: tuple[str, ...] = ()

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen; `incomplete` means that a retry is coming."""
        return self.status in TERMINAL


def read_job(job: Document, details: Document | None, *, current: bool = True) -> JobProgress:
    """Build a `JobProgress`.

    Args:
        job: `JobResponse` of the public API.
        details: `JobInfoRead` of the Config API, None where that is not served.
        current: whether `details` are as new as `job`; if not, the totals are the public API's.
    """
    attempts = [item["attempt"] for item in (details or {}).get("attempts") or []]
    streams = _streams(attempts) if details is not None else None
    counted = current and streams is not None and len(streams) > 0
    return JobProgress(
        job_id=int(job["jobId"]),
        status=str(job["status"]),
        started_at=_time(job.get("startTime")),
        updated_at=_time(job.get("lastUpdatedAt") or job.get("startTime")),
        rows=sum(s.rows_written for s in streams or ()) if counted else int(job.get("rowsSynced") or 0),
        bytes=sum(s.bytes for s in streams or ()) if counted else int(job.get("bytesSynced") or 0),
        attempts=len(attempts),
        streams=streams,
        current=current,
        failures=_failures(attempts),
    )


def _streams(attempts: Iterable[Document]) -> tuple[StreamCounts, ...]:
    totals: dict[tuple[str | None, str], StreamCounts] = {}
    for attempt in attempts:
        for item in attempt.get("streamStats") or []:
            key = (item.get("streamNamespace"), str(item.get("streamName")))
            stats = item.get("stats") or {}
            before = totals.get(key, StreamCounts(namespace=key[0], name=key[1]))
            totals[key] = StreamCounts(
                namespace=key[0],
                name=key[1],
                rows_read=before.rows_read + int(stats.get("recordsEmitted") or 0),
                rows_written=before.rows_written + int(stats.get("recordsCommitted") or 0),
                bytes=before.bytes + _bytes(stats),
                estimated=stats.get("estimatedRecords", before.estimated),
            )
    return tuple(totals.values())


def _bytes(stats: Document) -> int:
    """Return the bytes committed; those emitted only where the server does not count the others."""
    committed = stats.get("bytesCommitted")
    return int((stats.get("bytesEmitted") if committed is None else committed) or 0)


def _failures(attempts: list[Document]) -> tuple[str, ...]:
    for attempt in reversed(attempts):
        reasons = (attempt.get("failureSummary") or {}).get("failures") or []
        if reasons:
            return tuple(dict.fromkeys(_reason(reason) for reason in reasons))
    return ()


def _reason(reason: Document) -> str:
    words = reason.get("externalMessage") or reason.get("internalMessage") or "no message"
    origin = reason.get("failureOrigin")
    return f"{origin}: {words}" if origin else str(words)


def _time(text: Any) -> datetime:
    try:
        when = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Patience:
    """How long to wait for a job.

    Attributes:
        deadline_seconds: for the whole job, from the first look at it.
        stall_seconds: without a change in rows, bytes or attempts while it runs.
        poll_seconds: longest pause between two looks; the first pauses are shorter.
        tolerated_failures: looks in a row that may fail before waiting is given up.
    """

    deadline_seconds: float = 6 * 3600.0
    stall_seconds: float = 30 * 60.0
    poll_seconds: float = 5.0
    tolerated_failures: int = 8

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, in seconds."""
        return min(30.0, self.poll_seconds * 0.2 * 2.0 ** (failures - 1))


@dataclass
class SyncWatch:
    """Decides after each look at a job: go on waiting (how long?), or raise.

    Attributes:
        name: of the connection, for messages.
        job_id: of the job, for messages.
        patience: see there.
        began: monotonic seconds of the first look.
    """

    name: str
    job_id: int
    patience: Patience
    began: float
    _moved: float = field(init=False)
    _seen: tuple[object, ...] = ()
    _failures: int = 0

    def __post_init__(self) -> None:
        self._moved = self.began

    def saw(self, progress: JobProgress, now: float) -> float:
        """Take note of a job that has not ended and return the pause before the next look, in seconds.

        Raises:
            AirbyteDeadlineExceeded: it takes too long.
            AirbyteSyncStalled: it runs and does not move. Without statistics per stream nobody can
                tell, since the public API counts rows only at the end.
        """
        self._failures = 0
        seen = (progress.status, progress.attempts, progress.rows, progress.bytes, progress.streams)
        blind = progress.streams is None or not progress.current
        if seen != self._seen or progress.status != "running" or blind:
            self._seen, self._moved = seen, now
        self._check_deadline(now, progress.status)
        if now - self._moved > self.patience.stall_seconds:
            raise AirbyteSyncStalled(
                f"Sync of {self.name} (job {self.job_id}) moved no rows or bytes for "
                f"{self.patience.stall_seconds:.0f} s",
                state="the job is being cancelled; what it had committed stays",
                next_command=f"floe run replicate/{self.name}",
            )
        # A tenth of the time waited so far: short syncs are seen to end soon, long ones cost few calls.
        return min(self.patience.poll_seconds, max(0.1, (now - self.began) * 0.1))

    def failed(self, error: AirbyteUnreachable, now: float) -> float:
        """Take note of a look that failed and return the pause before the next one, in seconds.

        Raises:
            AirbyteUnreachable: too many in a row.
            AirbyteDeadlineExceeded: it takes too long.
        """
        self._failures += 1
        if self._failures > self.patience.tolerated_failures:
            raise AirbyteUnreachable(
                f"{error.what} ({self._failures} times in a row while waiting for job {self.job_id} "
                f"of {self.name})",
                state=f"job {self.job_id} may still run; the next trigger attaches to it",
                next_command=f"floe run replicate/{self.name}",
            )
        self._check_deadline(now, "out of reach")
        if error.retry_after is not None:
            return min(error.retry_after, 60.0)
        return self.patience.pause(self._failures)

    def _check_deadline(self, now: float, status: str) -> None:
        if now - self.began > self.patience.deadline_seconds:
            raise AirbyteDeadlineExceeded(
                f"Sync of {self.name} (job {self.job_id}) was still {status} after "
                f"{self.patience.deadline_seconds:.0f} s",
                state="the job is being cancelled; what it had committed stays",
                next_command=f"floe run replicate/{self.name}",
            )
