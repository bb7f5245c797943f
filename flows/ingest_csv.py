"""The flow `ingest_csv`: see that every file of a dataset is in the warehouse."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import cast

from prefect import flow, get_run_logger

from blocks.errors import FloeError, PermanentError, TransientError
from blocks.object_store import LandingBucket
from flows.dataset_files import Again, DatasetFiles, IngestResult
from flows.file_artifacts import FilesBar, publish_files
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps
from lambda_csv_loader.object_store import ObjectGone, ObjectRef

CHUNK = 50
"""Files that one call of the sweep loads; after each the bar moves."""
PARALLEL_INVOCATIONS = 4
POLL_SECONDS = 0.5


class FilesStuck(PermanentError):
    """Files could not be loaded, or messages about them lie in the dead-letter queue."""


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
        QueueRefused: the host's role may not count the messages of the queue.
    """
    steps, until_then = Steps(first_pause_seconds), time.monotonic() + wait_seconds
    landing = cast(LandingBucket, LandingBucket.load("landing"))
    try:
        asked = (dataset, prefix, since, until, again)
        files = steps.run("list the files", lambda: DatasetFiles(landing, *asked))
        loaded_before = files.count("loaded")
        bar = FilesBar(dataset, files.total)
        bar.show(files.settled)
        if files.pending:
            steps.run(
                "let events load",
                lambda: _let_events_load(landing, files, bar, until_then, patience_seconds),
            )
        failures = _sweep(steps, landing, files, bar)
        result = files.result(loaded_before)
        publish_files(landing, files, result)
        steps.run("see that no file is stuck", lambda: _fail_if_stuck(landing, dataset, files, failures))
        return result
    finally:
        landing.close()


def _let_events_load(
    landing: LandingBucket, files: DatasetFiles, bar: FilesBar, until_then: float, patience_seconds: float
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


def _sweep(steps: Steps, landing: LandingBucket, files: DatasetFiles, bar: FilesBar) -> dict[str, FloeError]:
    """Load what the ledger does not settle; return the keys that could not be, with the reason."""
    failures: dict[str, FloeError] = {}
    if files.pending:
        try:
            steps.run("sweep", lambda: _sweep_once(landing, files, bar, failures))
        except TransientError:
            # Which files still fail is told with all the others, not instead of them.
            steps.run("read the ledger", files.read_ledger)
    return failures


def _sweep_once(
    landing: LandingBucket, files: DatasetFiles, bar: FilesBar, failures: dict[str, FloeError]
) -> None:
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


def _fail_if_stuck(
    landing: LandingBucket, dataset: str, files: DatasetFiles, failures: dict[str, FloeError]
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
