"""The saved cursors of a connection, kept in the lake itself so that state and rows are one transaction.

One table per connection, since two transactions that update one table of the lake conflict. The update of
a stream's row also is what keeps a dying worker and its successor from both writing the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from lambda_csv_loader.ducklake import CATALOG, sql_name, sql_string

SCHEMA = "airbyte_internal"


@dataclass(frozen=True)
class StreamState:
    """What the last committed sync of a stream left behind.

    Attributes:
        cursor_field: the column the cursor belongs to.
        cursor: the upper bound that was read, as PostgreSQL writes it; None before the first sync.
        generation_id: counts the times the content was replaced as a whole.
        job_id: the job that wrote this, so that its retry does not write again.
        rows_read: rows that job read from this stream.
        rows_written: rows that job wrote to it.
        bytes_read: size of the rows read.
    """

    cursor_field: str | None = None
    cursor: str | None = None
    generation_id: int = 0
    job_id: int | None = None
    rows_read: int = 0
    rows_written: int = 0
    bytes_read: int = 0


class StateTable:
    """The states of one connection's streams."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, connection_id: str) -> None:
        self._connection = connection
        self._table = sql_name(CATALOG, SCHEMA, "state_" + connection_id.replace("-", "_"))

    def prepare(self, streams: list[tuple[str, str]]) -> None:
        """Make the table and a row per stream where they are missing."""
        try:
            known = self.known()
        except duckdb.CatalogException:
            self._create()
            known = set()
        missing = [stream for stream in streams if stream not in known]
        if missing:
            rows = ", ".join(
                f"({sql_string(namespace)}, {sql_string(stream)}, null, null, 0, null, 0, 0, 0, now())"
                for namespace, stream in missing
            )
            self._connection.execute(f"insert into {self._table} values {rows}")

    def known(self) -> set[tuple[str, str]]:
        """Return the streams that have a row.

        Raises:
            duckdb.CatalogException: there is no such table yet.
        """
        return set(self._connection.execute(f"select namespace, stream from {self._table}").fetchall())

    def _create(self) -> None:
        self._connection.execute(f"create schema if not exists {sql_name(CATALOG, SCHEMA)}")
        self._connection.execute(
            f"create table if not exists {self._table} (namespace varchar, stream varchar, "
            "cursor_field varchar, cursor varchar, generation_id bigint, job_id bigint, rows_read bigint, "
            "rows_written bigint, bytes_read bigint, committed_at timestamptz)"
        )

    def read(self, namespace: str, stream: str) -> StreamState:
        """Return the state of a stream as this transaction sees it."""
        row = self._connection.execute(
            "select cursor_field, cursor, generation_id, job_id, rows_read, rows_written, bytes_read "
            f"from {self._table} where {_is(namespace, stream)}"
        ).fetchone()
        return StreamState(*row) if row else StreamState()

    def write(self, namespace: str, stream: str, state: StreamState) -> None:
        """Replace the state of a stream within the caller's transaction."""
        self._connection.execute(
            f"update {self._table} set cursor_field = {_text(state.cursor_field)}, "
            f"cursor = {_text(state.cursor)}, generation_id = {state.generation_id}, "
            f"job_id = {state.job_id}, rows_read = {state.rows_read}, rows_written = {state.rows_written}, "
            f"bytes_read = {state.bytes_read}, committed_at = now() where {_is(namespace, stream)}"
        )


# Literals, not parameters: DuckDB imports pandas to convert the first parameter, 0.4 s of every job.
def _is(namespace: str, stream: str) -> str:
    return f"namespace = {sql_string(namespace)} and stream = {sql_string(stream)}"


def _text(value: str | None) -> str:
    return "null" if value is None else sql_string(value)
