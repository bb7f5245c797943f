"""How many rows of the running read have come so far.

PostgreSQL itself counts the rows of a running COPY (`pg_stat_progress_copy`, PostgreSQL 14 and newer).
A parallel scan is many small COPYs, there DuckDB's own share of the work done is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import duckdb

from deployments.local.airbyte.job_spec import StreamProgress
from deployments.local.airbyte.source_reader import STAND_IN_APPLICATION, remote
from lambda_csv_loader.ducklake import sql_string

SECONDS = 0.5
_ROWS = f"""
select coalesce(max(p.tuples_processed), 0) from pg_stat_progress_copy p
join pg_stat_activity a using (pid)
where a.application_name = {sql_string(STAND_IN_APPLICATION)} and a.pid <> pg_backend_pid()
"""


class ReadProgress:
    """Reports a stream's rows so far twice a second, while used as a context."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        say: Callable[[StreamProgress], None],
    ) -> None:
        self._connection = connection
        self._say = say
        self._expected: StreamProgress | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def expect(self, progress: StreamProgress) -> None:
        """Take note of the rows to come, and report them."""
        self._expected = progress
        self._say(progress)

    def __enter__(self) -> ReadProgress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        # A connection to DuckDB of its own: it takes one more to the source, and keeps it.
        with self._connection.cursor() as cursor:
            self._report_rows(cursor)

    def _report_rows(self, cursor: duckdb.DuckDBPyConnection) -> None:
        reported = 0
        while not self._ended.wait(SECONDS):
            expected = self._expected
            if expected is None or not expected.estimated:
                continue
            seen = max(self._rows_copied(cursor), self._rows_scanned(expected.estimated))
            rows = min(seen, expected.estimated)
            if rows > reported:
                reported = rows
                self._say(expected.model_copy(update={"emitted": rows}))

    def _rows_scanned(self, estimated: int) -> int:
        share = self._connection.query_progress()
        return int(estimated * share / 100) if share > 0 else 0

    def _rows_copied(self, cursor: duckdb.DuckDBPyConnection) -> int:
        try:
            row = cursor.execute(f"select * from {remote(_ROWS)}").fetchone()
        except duckdb.Error:
            return 0  # a server before 14, or one that has no connection to spare: no bar, no harm
        return int(row[0]) if row else 0
