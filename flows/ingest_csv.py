"""The flow `ingest_csv`: see that every file of a dataset is in the warehouse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks.errors import PermanentError
from blocks.object_store import LandingBucket
from lambda_csv_loader.ledger import LedgerRow, is_settled
from lambda_csv_loader.object_store import ObjectRef

LANDING = "landing/"
SWEEP = "sweep:"
CHUNK = 50
"""Files that one call of the sweep loads; after each the bar moves."""
PARALLEL_INVOCATIONS = 4
POLL_SECONDS = 0.5


class FilesStuck(PermanentError):
    """Files could not be loaded, or messages lie in the dead-letter queue."""


class QuarantinedFile(BaseModel):
    """A file that was refused: where it was, why, and where the verdict is."""

    key: str
    file_id: str
    reason: str
    verdict_key: str | None


class IngestResult(BaseModel):
    """The state of a dataset's files after the run.

    Attributes:
        files: in the bucket under the prefix.
        loaded: of those, with their rows in the warehouse.
        loaded_by_events: of the loaded, by the event of their upload.
        loaded_by_sweep: of the loaded, by a run of this flow.
        newly_loaded: loaded since this run began.
        skipped: same content as another file.
        superseded: replaced by a newer file or version.
        rows: in the warehouse, from the loaded files.
        quarantined: refused, with their verdicts.
    """

    dataset: str
    files: int
    loaded: int
    loaded_by_events: int
    loaded_by_sweep: int
    newly_loaded: int
    skipped: int
    superseded: int
    rows: int
    quarantined: list[QuarantinedFile]


@flow(name="ingest-csv", flow_run_name="ingest {dataset}")
def ingest_csv(
    dataset: str,
    prefix: str | None = None,
    since: date | None = None,
    until: date | None = None,
    wait_seconds: float = 600,
    patience_seconds: float = 20,
) -> IngestResult:
    """Let events load what they are loading, load what they missed, and say how every file fared.

    The bucket is compared with the ledger, so a run can be repeated or interrupted at any point: what
    is loaded is never loaded again.

    Args:
        dataset: the dataset, as its contract names it
        prefix: only keys that begin so; all of the dataset's when left out
        since: only files uploaded on this day (UTC) or later
        until: only files uploaded on this day (UTC) or earlier
        wait_seconds: how long events get at most before the sweep loads what is left
        patience_seconds: how long events may make no progress before the sweep takes over

    Raises:
        NoContract: the dataset is not declared.
        FilesStuck: a file could be neither loaded nor refused, or the dead-letter queue is not empty.
    """
    landing = cast(LandingBucket, LandingBucket.load("landing"))
    try:
        landing.loader().contracts.get(dataset)
        files = _Files(landing, dataset, prefix or f"{LANDING}{dataset}/", since, until)
        loaded_before = files.count("loaded")
        bar = _Bar(dataset, files.total)
        bar.show(files.settled)
        if files.pending:
            _let_events_load(landing, files, bar, wait_seconds, patience_seconds)
        failures = _sweep(landing, files, bar)
        result = files.result(loaded_before)
        _publish(result)
        _fail_if_stuck(landing, files, failures)
        return result
    finally:
        landing.close()


class _Files:
    """The bucket against the ledger: which files there are, and what became of each."""

    def __init__(
        self, landing: LandingBucket, dataset: str, prefix: str, since: date | None, until: date | None
    ) -> None:
        self._landing, self._dataset, self._prefix = landing, dataset, prefix
        self._refs = [ref for ref in landing.files(prefix) if _within(ref, since, until)]
        self._rows: dict[tuple[str, str | None], LedgerRow] = {}
        self.read_ledger()

    def read_ledger(self) -> None:
        """Look again at what the ledger says."""
        rows = self._landing.loader().writer.ledger(self._dataset, self._prefix)
        self._rows = {(row.key, row.etag): row for row in rows}

    @property
    def total(self) -> int:
        """Return how many files there are."""
        return len(self._refs)

    @property
    def pending(self) -> list[ObjectRef]:
        """Return the files that the ledger does not settle."""
        return [ref for ref in self._refs if not self._is_settled(ref)]

    @property
    def settled(self) -> int:
        """Return how many files need nothing more."""
        return self.total - len(self.pending)

    def count(self, status: str) -> int:
        """Return how many files have this status."""
        return sum(row.status == status for row in self._current())

    def result(self, loaded_before: int) -> IngestResult:
        """Return the state of all files."""
        rows = list(self._current())
        counts = Counter(row.status for row in rows)
        loaded = [row for row in rows if row.status == "loaded"]
        swept = sum((row.request_id or "").startswith(SWEEP) for row in loaded)
        return IngestResult(
            dataset=self._dataset,
            files=self.total,
            loaded=len(loaded),
            loaded_by_events=len(loaded) - swept,
            loaded_by_sweep=swept,
            newly_loaded=len(loaded) - loaded_before,
            skipped=counts["skipped"],
            superseded=counts["superseded"],
            rows=sum(row.rows_loaded for row in loaded),
            quarantined=[
                QuarantinedFile(
                    key=row.key, file_id=row.file_id, reason=row.reason or "", verdict_key=row.verdict_key
                )
                for row in rows
                if row.status == "quarantined"
            ],
        )

    def _is_settled(self, ref: ObjectRef) -> bool:
        row = self._rows.get((ref.key, ref.etag))
        return row is not None and is_settled(row, ref.last_modified)

    def _current(self) -> Iterator[LedgerRow]:
        for ref in self._refs:
            row = self._rows.get((ref.key, ref.etag))
            if row is not None:
                yield row


@dataclass
class _Bar:
    """The progress artifact `ingest-<dataset>`, sent only when it has moved."""

    dataset: str
    total: int
    artifact: UUID | None = None
    shown: float = -1.0

    def show(self, settled: int) -> None:
        """Show how many files are settled."""
        share = float(settled * 100 // self.total) if self.total else 100.0
        if share == self.shown:
            return
        self.shown = share
        words = f"{self.dataset}: {settled} of {self.total} files"
        if self.artifact is None:
            key = f"ingest-{self.dataset.replace('_', '-')}"
            self.artifact = cast(UUID, create_progress_artifact(share, key=key, description=words))
        else:
            update_progress_artifact(self.artifact, progress=share, description=words)


def _let_events_load(
    landing: LandingBucket, files: _Files, bar: _Bar, wait_seconds: float, patience_seconds: float
) -> None:
    """Wait while events drain the queue: they hold the same files, and twice the work helps nobody."""
    started = moved = time.monotonic()
    best = (landing.depths().waiting, len(files.pending))
    while best[0] and files.pending and time.monotonic() - started < wait_seconds:
        time.sleep(POLL_SECONDS)
        files.read_ledger()
        bar.show(files.settled)
        seen = (landing.depths().waiting, len(files.pending))
        if seen[0] < best[0] or seen[1] < best[1]:
            best, moved = (min(best[0], seen[0]), min(best[1], seen[1])), time.monotonic()
        elif time.monotonic() - moved > patience_seconds:
            get_run_logger().warning("%d messages wait and nothing takes them; sweeping", seen[0])
            return


def _sweep(landing: LandingBucket, files: _Files, bar: _Bar) -> dict[str, str]:
    """Load what the ledger does not settle; return the keys that could not be, with the reason."""
    pending = files.pending
    if not pending:
        return {}
    get_run_logger().info("Sweeping %d files that no event has loaded", len(pending))
    request_id = f"{SWEEP}{flow_run.get_id() or ''}"
    chunks = [pending[start : start + CHUNK] for start in range(0, len(pending), CHUNK)]
    failures: dict[str, str] = {}
    # In this process the loader reads several files of a chunk at once and publishes them together.
    workers = PARALLEL_INVOCATIONS if landing.function_name else 1

    def load(chunk: Sequence[ObjectRef]) -> dict[str, str]:
        return landing.load_files(chunk, request_id)

    with ThreadPoolExecutor(workers) as pool:
        for failed in pool.map(load, chunks):
            failures |= failed
            files.read_ledger()
            bar.show(files.settled)
    return failures


def _publish(result: IngestResult) -> None:
    key = f"ingest-{result.dataset.replace('_', '-')}"
    statuses = {
        "loaded": result.loaded,
        "skipped (same content)": result.skipped,
        "superseded": result.superseded,
        "quarantined": len(result.quarantined),
    }
    create_table_artifact(
        key=f"{key}-files",
        description=f"Files of {result.dataset}, {result.newly_loaded} loaded since the flow began",
        table=[
            {"status": status, "files": files, "rows": result.rows if status == "loaded" else 0}
            for status, files in statuses.items()
            if files or status == "loaded"
        ],
    )
    if result.quarantined:
        get_run_logger().warning("%d files are quarantined", len(result.quarantined))
        create_table_artifact(
            key=f"{key}-quarantined",
            description=f"Quarantined files of {result.dataset}",
            table=[
                {"file": file.key, "reason": file.reason, "verdict": file.verdict_key}
                for file in result.quarantined
            ],
        )


def _fail_if_stuck(landing: LandingBucket, files: _Files, failures: dict[str, str]) -> None:
    # A file that was deleted between the listing and its load needs nothing.
    there = {
        ref.key for ref in files.pending if any(found.key == ref.key for found in landing.files(ref.key))
    }
    stuck = [ref.key for ref in files.pending if ref.key in there]
    if stuck:
        shown = "; ".join(f"{key}: {failures.get(key, 'not in the ledger')}" for key in stuck[:5])
        raise FilesStuck(
            f"{len(stuck)} files could be neither loaded nor refused: {shown}",
            state="they are in the bucket, nothing of them is in the warehouse",
            next_command="floe files status",
        )
    dead = landing.depths().dead
    if dead:
        raise FilesStuck(
            f"{dead} messages lie in the dead-letter queue",
            state="the files they tell of are in the bucket",
            next_command="floe files status, then floe files replay --dead-letters",
        )


def _within(ref: ObjectRef, since: date | None, until: date | None) -> bool:
    if ref.last_modified is None:
        return True
    day = ref.last_modified.date()
    return (since is None or since <= day) and (until is None or day <= until)
