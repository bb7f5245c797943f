"""The process that runs one attempt of one job: `python -m deployments.local.airbyte.worker SCRATCH`.

It reads its `JobSpec` from standard input and answers with one JSON message per line on standard output.
The service holds the other end of standard input open for as long as it lives: end of file means that
the service is gone, and the worker ends at once. Being killed anywhere is harmless, see `stream_sync`.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import duckdb

from deployments.local.airbyte.job_spec import AttemptFailure, JobSpec, StreamProgress, StreamSpec
from deployments.local.airbyte.raw_table import SchemaChanged
from deployments.local.airbyte.read_progress import ReadProgress
from deployments.local.airbyte.source_reader import SourceReader
from deployments.local.airbyte.stream_sync import StreamSync
from deployments.local.airbyte.sync_state import StateTable
from lambda_csv_loader.ducklake import connect, sql_string

CONFLICT_TRIES = 6
Result = TypeVar("Result")
Origin = Literal["source", "destination", "replication"]
FailureType = Literal["config_error", "system_error", "transient_error"]
_out = threading.Lock()


def main() -> int:
    """Run the attempt; the exit code is 0 when every stream was synced."""
    job = JobSpec.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    scratch = Path(sys.argv[1])
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    failures = run(job, scratch)
    for failure in failures:
        say(failure, secret=job.source.password)
    return 1 if failures else 0


def run(job: JobSpec, scratch: Path) -> list[AttemptFailure]:
    """Sync every stream of the job in turn and return what went wrong."""
    try:
        connection = connect(job.destination)
    except duckdb.Error as error:
        return [_failure("destination", "transient_error", "the lake does not answer", error)]
    with connection:
        # Bounded memory: larger intermediate results go to disk, and no order of rows is promised.
        connection.execute(
            f"set memory_limit = {sql_string(job.memory_limit)}; "
            f"set temp_directory = {sql_string(scratch / 'spill')}; "
            "set preserve_insertion_order = false; "
            "set enable_progress_bar = true; set enable_progress_bar_print = false"
        )
        try:
            reader = SourceReader(connection, job.source, scratch)
        except duckdb.Error as error:
            return [_unreadable(job, error)]
        return sync_streams(job, connection, reader, say)


def sync_streams(
    job: JobSpec,
    connection: duckdb.DuckDBPyConnection,
    reader: SourceReader,
    report: Callable[[StreamProgress], None],
) -> list[AttemptFailure]:
    """Sync the job's streams over an open connection, telling `report` how far each is.

    A stream that fails is reported and the next one is tried, unless source or lake are gone.
    """
    try:
        tables = reader.tables(sorted({stream.namespace for stream in job.streams}))
    except duckdb.Error as error:
        return [_unreadable(job, error)]
    states = StateTable(connection, job.connection_id)
    try:
        without_conflict(lambda: states.prepare([(s.namespace, s.name) for s in job.streams]))
    except duckdb.Error as error:
        return [_failure("destination", "system_error", "the lake's state table cannot be written", error)]
    failures: list[AttemptFailure] = []
    for stream in job.streams:
        progress = ReadProgress(connection, report)
        source = tables.get((stream.namespace, stream.name))
        sync = StreamSync(connection, reader, states, job, stream, source, progress.expect)
        try:
            with progress:
                done = without_conflict(sync.run)
            report(done)
        except SchemaChanged as error:
            failures.append(_misfit(stream, error))
        except duckdb.Error as error:
            lost = _lost(reader, states)
            failures.append(_stream_failure(stream, error, lost))
            if lost:
                break
    return failures


def without_conflict(action: Callable[[], Result]) -> Result:
    """Run a transaction again when another writer of the lake came first."""
    for attempt in range(CONFLICT_TRIES):
        try:
            return action()
        except duckdb.TransactionException as error:
            if "conflict" not in str(error).lower() or attempt == CONFLICT_TRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
    raise AssertionError("unreachable")


def say(message: StreamProgress | AttemptFailure, *, secret: str = "") -> None:
    """Write one message for the service, without the source's password wherever it may have come from."""
    line = message.model_dump_json()
    if secret:
        line = line.replace(secret, "**********")
    with _out:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _unreadable(job: JobSpec, error: duckdb.Error) -> AttemptFailure:
    refused = "authentication failed" in str(error) or "does not exist" in str(error)
    where = f"{job.source.host}:{job.source.port}/{job.source.database}"
    kind: FailureType = "config_error" if refused else "transient_error"
    return _failure("source", kind, f"the source {where} cannot be read", error)


def _failure(origin: Origin, kind: FailureType, what: str, error: Exception) -> AttemptFailure:
    message = f"{what}: {_first_line(error)}"
    return AttemptFailure(origin=origin, failure_type=kind, message=message, internal=str(error))


def _misfit(stream: StreamSpec, error: SchemaChanged) -> AttemptFailure:
    return AttemptFailure(
        origin="source",
        failure_type="config_error",
        message=error.what,
        internal=str(error),
        namespace=stream.namespace,
        name=stream.name,
        pauses_connection=error.pauses_connection,
    )


def _stream_failure(stream: StreamSpec, error: duckdb.Error, lost: Origin | None) -> AttemptFailure:
    # A right that is lacking is not gained by trying again.
    refused = "permission denied for" in str(error)
    kind: FailureType = "config_error" if refused else "transient_error" if lost else "system_error"
    what = f"stream {stream.namespace}.{stream.name} failed"
    failure = _failure(lost or ("source" if refused else "replication"), kind, what, error)
    return failure.model_copy(update={"namespace": stream.namespace, "name": stream.name})


def _lost(reader: SourceReader, states: StateTable) -> Origin | None:
    """Tell whether the source or the lake is gone, so that no other stream can be synced either."""
    try:
        reader.query("select 1")
    except duckdb.Error:
        return "source"
    try:
        states.known()
    except duckdb.Error:
        return "destination"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _end_with_the_service() -> None:
    # Straight from the descriptor: a lock on the buffered reader would break the interpreter's own end.
    while os.read(0, 4096):
        pass
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main())
