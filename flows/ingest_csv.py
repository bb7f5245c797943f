"""The flow `ingest_csv`: see that every file of a dataset is in the warehouse."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Literal, cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks.errors import FloeError, PermanentError, TransientError
from blocks.object_store import LandingBucket
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps
from lambda_csv_loader.groups import LANDING
from lambda_csv_loader.ledger import LedgerRow, is_settled, loaded_contents, newest_uploads
from lambda_csv_loader.object_store import ObjectGone, ObjectRef

SWEEP = "sweep:"
CHUNK = 50
"""Files that one call of the sweep loads; after each the bar moves."""
PARALLEL_INVOCATIONS = 4
POLL_SECONDS = 0.5
SHOWN = 100
"""Files listed in the table, those that need somebody first, then the newest."""
LINKED = 10
"""Verdicts with a link of their own."""
Again = Literal["nothing", "refused", "everything"]
_AGAIN: dict[Again, tuple[str, ...]] = {
    "nothing": (),
    "refused": ("quarantined",),
    "everything": ("quarantined", "loaded"),
}


class BadPrefix(PermanentError):
    """A prefix lies outside the dataset's own folder."""


class FilesStuck(PermanentError):
    """Files could not be loaded, or messages about them lie in the dead-letter queue."""


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
    again: Again = "nothing",
    wait_seconds: float = 600,
    patience_seconds: float = 20,
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
) -> IngestResult:
    """Let events load what they are loading, load what they missed, and say how every file fared.

    The bucket is compared with the ledger, so a run can be repeated or interrupted at any point: what
    is loaded is never loaded again. That is why each step may be tried again when a server did not
    answer; of the files, those that the ledger does not settle and that were not refused for good.

    Args:
        dataset: the dataset, as its contract names it
        prefix: only keys that begin so, from `landing/<dataset>/` on; all of them when left out
        since: only files uploaded on this day (UTC) or later
        until: only files uploaded on this day (UTC) or earlier
        again: also load again what was refused, or everything: after the contract was mended
        wait_seconds: how long events get at most before the sweep loads what is left
        patience_seconds: how long events may make no progress before the sweep takes over
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Raises:
        NoContract: the dataset is not declared.
        BadPrefix: the prefix reaches beyond the dataset.
        FilesStuck: a file could be neither loaded nor refused, or the dead-letter queue tells of one. For
            what is there of other datasets their runs answer, and `elt` for what is of none.
        StoreUnavailable, QueueUnavailable, WarehouseUnavailable: no answer, several times in a row.
    """
    steps, until_then = Steps(first_pause_seconds), time.monotonic() + wait_seconds
    landing = cast(LandingBucket, LandingBucket.load("landing"))
    try:
        landing.loader().contracts.get(dataset)
        own = _prefix(dataset, prefix)
        files = steps.run("list the files", lambda: _Files(landing, dataset, own, since, until, again))
        loaded_before = files.count("loaded")
        bar = _Bar(dataset, files.total)
        bar.show(files.settled)
        if files.pending:
            steps.run(
                "let events load",
                lambda: _let_events_load(landing, files, bar, until_then, patience_seconds),
            )
        failures = _sweep(steps, landing, files, bar)
        result = files.result(loaded_before)
        _publish(landing, files, result)
        steps.run("see that no file is stuck", lambda: _fail_if_stuck(landing, dataset, files, failures))
        return result
    finally:
        landing.close()


def look(
    landing: LandingBucket,
    dataset: str,
    prefix: str | None,
    since: date | None,
    until: date | None,
    again: Again,
) -> tuple[int, int]:
    """Return how many files there are, and how many of them a run with these parameters would load.

    Raises:
        NoContract: the dataset is not declared.
        BadPrefix: the prefix reaches beyond the dataset.
    """
    landing.loader().contracts.get(dataset)
    files = _Files(landing, dataset, _prefix(dataset, prefix), since, until, again)
    return files.total, len(files.pending)


class _Files:
    """The bucket against the ledger: which files there are, and what became of each."""

    def __init__(
        self,
        landing: LandingBucket,
        dataset: str,
        prefix: str,
        since: date | None,
        until: date | None,
        again: Again,
    ) -> None:
        self._landing, self._dataset, self._prefix = landing, dataset, prefix
        self._again = _AGAIN[again]
        self._looked_again: set[str] = set()
        self.request_id = f"{SWEEP}{flow_run.get_id() or ''}"
        self._refs = [ref for ref in landing.files(prefix) if _within(ref, since, until)]
        self._rows: dict[tuple[str, str | None], LedgerRow] = {}
        self._contents: frozenset[str] = frozenset()
        self.read_ledger()

    def read_ledger(self) -> None:
        """Look again at what the ledger says."""
        # All of the dataset's: a copy under this prefix may rest on a file under another.
        rows = self._landing.loader().writer.ledger(self._dataset)
        self._rows, self._contents = newest_uploads(rows), loaded_contents(rows)

    @property
    def total(self) -> int:
        """Return how many files there are."""
        return len(self._refs)

    @property
    def pending(self) -> list[ObjectRef]:
        """Return the files that the ledger does not settle."""
        return [ref for ref in self._refs if not self._is_settled(ref)]

    @property
    def pending_again(self) -> list[ObjectRef]:
        """Return those of them that the ledger has settled, and that are asked for nevertheless."""
        return [ref for ref in self.pending if self._is_known(ref)]

    def looked_again(self, refs: Iterable[ObjectRef]) -> None:
        """Note that files were loaded again, however that ended."""
        self._looked_again.update(ref.key for ref in refs)

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

    def shown(self) -> list[dict[str, object]]:
        """Return the most interesting files for a table: open and refused ones, then the newest."""
        listed = []
        for ref in self._refs:
            row = self._rows.get((ref.key, ref.etag))
            status = row.status if row is not None and self._is_settled(ref) else "waiting"
            calm = status not in ("waiting", "quarantined")
            age = -(ref.last_modified.timestamp() if ref.last_modified else 0)
            listed.append((calm, age, ref.key, status, row.rows_loaded if row and calm else 0))
        return [
            {"file": key, "status": status, "rows": rows} for *_, key, status, rows in sorted(listed)[:SHOWN]
        ]

    def _is_settled(self, ref: ObjectRef) -> bool:
        return self._is_known(ref) and not self._is_wanted_again(ref)

    def _is_known(self, ref: ObjectRef) -> bool:
        row = self._rows.get((ref.key, ref.etag))
        return row is not None and is_settled(row, ref.last_modified, self._contents)

    def _is_wanted_again(self, ref: ObjectRef) -> bool:
        row = self._rows[ref.key, ref.etag]
        # What this run has loaded before it was interrupted carries its name.
        done = row.request_id == self.request_id or ref.key in self._looked_again
        return row.status in self._again and not done

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
    landing: LandingBucket, files: _Files, bar: _Bar, until_then: float, patience_seconds: float
) -> None:
    """Wait while events drain the queue: they hold the same files, and twice the work helps nobody."""
    moved = time.monotonic()
    best = (landing.depths().waiting, len(files.pending))
    while best[0] and files.pending and time.monotonic() < until_then:
        time.sleep(POLL_SECONDS)
        waiting = landing.depths().waiting
        if waiting != best[0]:
            # Only then has anything changed: the ledger of ten thousand files is not read for nothing.
            files.read_ledger()
            bar.show(files.settled)
        seen = (waiting, len(files.pending))
        if seen[0] < best[0] or seen[1] < best[1]:
            best, moved = (min(best[0], seen[0]), min(best[1], seen[1])), time.monotonic()
        elif time.monotonic() - moved > patience_seconds:
            get_run_logger().warning("%d messages wait and nothing takes them; sweeping", seen[0])
            return


def _sweep(steps: Steps, landing: LandingBucket, files: _Files, bar: _Bar) -> dict[str, FloeError]:
    """Load what the ledger does not settle; return the keys that could not be, with the reason."""
    failures: dict[str, FloeError] = {}
    if files.pending:
        try:
            steps.run("sweep", lambda: _sweep_once(landing, files, bar, failures))
        except TransientError:
            # Which files still fail is told with all the others, not instead of them.
            steps.run("read the ledger", files.read_ledger)
    return failures


def _sweep_once(landing: LandingBucket, files: _Files, bar: _Bar, failures: dict[str, FloeError]) -> None:
    """Load what the ledger does not settle and `failures` does not hold for good; renew `failures`."""
    for key in [key for key, error in failures.items() if isinstance(error, TransientError)]:
        del failures[key]
    again = {ref.key for ref in files.pending_again}
    pending = [ref for ref in files.pending if ref.key not in failures]
    get_run_logger().info("Sweeping %d files, %d of them again", len(pending), len(again))
    fresh = [ref for ref in pending if ref.key not in again]
    chunks = [*_chunks(fresh), *_chunks([ref for ref in pending if ref.key in again])]
    # In this process the loader reads several files of a chunk at once and publishes them together.
    workers = PARALLEL_INVOCATIONS if landing.function_name else 1

    def load(chunk: Sequence[ObjectRef]) -> dict[str, FloeError]:
        return landing.load_files(chunk, files.request_id, again=chunk[0].key in again)

    settled = files.settled
    with ThreadPoolExecutor(workers) as pool:
        for chunk, failed in zip(chunks, pool.map(load, chunks), strict=True):
            failures.update(failed)
            files.looked_again(ref for ref in chunk if ref.key not in failed)
            settled += len(chunk) - len(failed)
            bar.show(settled)
    files.read_ledger()
    bar.show(files.settled)
    if transient := [error for error in failures.values() if isinstance(error, TransientError)]:
        raise transient[0]


def _chunks(refs: Sequence[ObjectRef]) -> Iterator[Sequence[ObjectRef]]:
    return (refs[start : start + CHUNK] for start in range(0, len(refs), CHUNK))


def _publish(landing: LandingBucket, files: _Files, result: IngestResult) -> None:
    key = f"ingest-{result.dataset.replace('_', '-')}"
    counts = {
        "loaded": result.loaded,
        "skipped": result.skipped,
        "superseded": result.superseded,
        "quarantined": len(result.quarantined),
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count or status == "loaded")
    shown = files.shown()
    more = f"; the {len(shown)} of most interest" if len(shown) < result.files else ""
    create_table_artifact(
        key=f"{key}-files",
        description=f"{result.files} files of {result.dataset}: {said}, {result.rows} rows, "
        f"{result.newly_loaded} loaded since the flow began{more}",
        table=shown,
    )
    if not result.quarantined:
        return
    get_run_logger().warning("%d files are quarantined", len(result.quarantined))
    create_table_artifact(
        key=f"{key}-quarantined",
        description=f"Quarantined files of {result.dataset}",
        table=[
            {"file": file.key, "reason": file.reason, "verdict": file.verdict_key}
            for file in result.quarantined
        ],
    )
    for file in result.quarantined[:LINKED]:
        if file.verdict_key is not None:
            create_link_artifact(
                landing.url(file.verdict_key),
                link_text=f"Verdict on {file.key}",
                key=f"{key}-verdict-{file.file_id[:12]}",
                description=file.reason,
            )


def _fail_if_stuck(
    landing: LandingBucket, dataset: str, files: _Files, failures: dict[str, FloeError]
) -> None:
    stuck = [ref.key for ref in files.pending if _is_there(landing, ref.key)]
    if stuck:
        said = {key: failures[key].what if key in failures else "not in the ledger" for key in stuck[:5]}
        shown = "; ".join(f"{key}: {why}" for key, why in said.items())
        raise FilesStuck(
            f"{len(stuck)} files could be neither loaded nor refused: {shown}",
            state="they are in the bucket, nothing of them is in the warehouse",
            next_command="floe files status",
        )
    dead = landing.dead_letters()
    own = dead.by_dataset.get(dataset, 0)
    if own or dead.unread:
        unread = f" and {dead.unread} that could not be looked at" if dead.unread else ""
        raise FilesStuck(
            f"{own} messages about {dataset}{unread} lie in the dead-letter queue",
            state="the files they tell of are in the bucket",
            next_command="floe files status, then floe files replay --dead-letters",
        )
    if others := dead.in_words():
        get_run_logger().warning("In the dead-letter queue, though none is of %s: %s", dataset, others)


def _is_there(landing: LandingBucket, key: str) -> bool:
    """A file that was deleted between the listing and its load needs nothing."""
    try:
        landing.loader().bucket.head(key)
    except ObjectGone:
        return False
    return True


def _prefix(dataset: str, prefix: str | None) -> str:
    own = f"{LANDING}{dataset}/"
    # Without the slash, `landing/stock` would take the files of `stock_2`, too.
    if prefix is not None and not prefix.startswith(own):
        raise BadPrefix(
            f"the prefix {prefix!r} does not begin with {own!r}",
            state="nothing was read",
            next_command=f"give a prefix under {own}, or none",
        )
    return prefix or own


def _within(ref: ObjectRef, since: date | None, until: date | None) -> bool:
    if ref.last_modified is None:
        return True
    day = ref.last_modified.date()
    return (since is None or since <= day) and (until is None or day <= until)
