"""One stream of one job: read in one snapshot, written with its new state in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import duckdb

from blocks.postgres_catalog import SourceTable
from blocks.postgres_types import SourceColumn
from deployments.local.airbyte.job_spec import JobSpec, StreamProgress, StreamSpec
from deployments.local.airbyte.raw_table import RawTable, SchemaChanged
from deployments.local.airbyte.source_reader import Extent, Selection, SourceReader, meta_columns
from deployments.local.airbyte.sync_state import StateTable, StreamState

STAGING = "temp.main.airbyte_staging"
_INCREMENTAL = ("incremental_append", "incremental_deduped_history")

Report = Callable[[StreamProgress], None]


@dataclass(frozen=True)
class StreamSync:
    """Everything that is needed to sync one stream.

    Attributes:
        connection: with the lake and the source attached.
        reader: of the source.
        states: of the connection.
        job: the attempt this belongs to.
        stream: what to sync.
        source: the stream's table, None when the source has none of that name.
        report: is told how many rows are to be expected, before they are read.
    """

    connection: duckdb.DuckDBPyConnection
    reader: SourceReader
    states: StateTable
    job: JobSpec
    stream: StreamSpec
    source: SourceTable | None
    report: Report

    def run(self) -> StreamProgress:
        """Sync the stream, or tell what an earlier attempt of this job committed.

        Raises:
            SchemaChanged: the source no longer fits the declaration or the replicated table.
            duckdb.Error: the source or the lake failed; nothing of this stream was written.
        """
        self.connection.execute("begin")
        try:
            done = self._in_transaction()
            self.connection.execute("commit")
        except BaseException:
            _roll_back(self.connection)
            raise
        return done

    def _in_transaction(self) -> StreamProgress:
        state = self.states.read(self.stream.namespace, self.stream.name)
        if state.job_id == self.job.job_id:
            return self._committed_before(state)
        if self.job.job_type in ("reset", "clear"):
            return self._clear(state)
        target = RawTable(self.connection, self.stream.target_schema, self.stream.target_table)
        columns = self._columns()
        is_new = target.fit(columns)
        selection = self._selection(columns, state, is_new=is_new)
        extent = self.reader.measure(selection)
        if extent.null_keys:
            raise self._misfit(f"{extent.null_keys} rows have NULL in the primary key {selection.key}")
        self.report(self._progress(estimated=extent.rows))
        # A saved cursor means that there are rows; asking would cost a look at every file.
        is_empty = is_new or (selection.is_full and target.is_empty())
        return self._write(target, selection, extent, state, is_empty=is_empty)

    def _write(
        self, target: RawTable, selection: Selection, extent: Extent, state: StreamState, *, is_empty: bool
    ) -> StreamProgress:
        replaces = self._replaces
        generation = state.generation_id + (1 if replaces and not is_empty else 0)
        extracted_at = datetime.now(UTC).isoformat()
        relation = self.reader.relation(
            selection, extent, meta_columns(self.job.job_id, generation, extracted_at)
        )
        written, size = 0, 0
        appends = is_empty or (self.stream.sync_mode.endswith("_append") and not replaces)
        if appends and extent.rows:
            # Straight into the lake: no second copy of a large first load.
            if selection.key and not selection.key_is_unique:
                relation = self._stage(relation, extent)
            written = target.append(relation)
            size = self._size(target.sql, selection.columns, f"_airbyte_extracted_at = '{extracted_at}'")
        elif not appends and (extent.rows or replaces):
            staged = self._stage(relation, extent)
            size = self._size(staged, selection.columns)
            if not replaces:
                written = target.merge(staged, selection.columns, selection.key, selection.cursor)
            elif self.job.job_type == "refresh" or not target.holds(staged, selection.columns):
                written = target.replace(staged)
            else:
                generation = state.generation_id
        after = StreamState(
            cursor_field=self.stream.cursor_field,
            cursor=(extent.upper or selection.lower) if selection.cursor else None,
            generation_id=generation,
            job_id=self.job.job_id,
            rows_read=extent.rows,
            rows_written=written,
            bytes_read=size,
        )
        if written or _position(after) != _position(state):
            self.states.write(self.stream.namespace, self.stream.name, after)
        per_row = size / extent.rows if extent.rows else 0
        return self._progress(
            emitted=extent.rows,
            committed=written,
            bytes_emitted=size,
            bytes_committed=round(per_row * written),
            estimated=extent.rows,
            done=True,
        )

    @property
    def _replaces(self) -> bool:
        return self.job.job_type == "refresh" or self.stream.sync_mode == "full_refresh_overwrite"

    def _stage(self, relation: str, extent: Extent) -> str:
        self.connection.execute(f"create or replace temp table airbyte_staging as select * from {relation}")
        row = self.connection.execute(f"select count(*) from {STAGING}").fetchone()
        if row is None or row[0] != extent.rows:
            raise duckdb.InvalidInputException(
                f"stream {self.stream.name}: {row[0] if row else 0} rows came, {extent.rows} were counted"
            )
        return STAGING

    def _size(self, relation: str, columns: list[SourceColumn], condition: str = "true") -> int:
        total = " + ".join(column.bytes for column in columns)
        row = self.connection.execute(
            f"select coalesce(sum({total}), 0)::BIGINT from {relation} where {condition}"
        ).fetchone()
        return int(row[0]) if row else 0

    def _clear(self, state: StreamState) -> StreamProgress:
        target = RawTable(self.connection, self.stream.target_schema, self.stream.target_table)
        if target.columns() is not None:
            self.connection.execute(f"delete from {target.sql}")
        cleared = StreamState(generation_id=state.generation_id + 1, job_id=self.job.job_id)
        self.states.write(self.stream.namespace, self.stream.name, cleared)
        return self._progress(done=True)

    def _committed_before(self, state: StreamState) -> StreamProgress:
        """Report what an attempt committed that died before it could say so."""
        emitted = max(0, state.rows_read - self.stream.emitted_before)
        committed = max(0, state.rows_written - self.stream.committed_before)
        per_row = state.bytes_read / state.rows_read if state.rows_read else 0
        return self._progress(
            emitted=emitted,
            committed=committed,
            bytes_emitted=round(per_row * emitted),
            bytes_committed=round(per_row * committed),
            done=True,
        )

    def _columns(self) -> list[SourceColumn]:
        if self.source is None:
            raise self._misfit("there is no such table in the source")
        selected = self.stream.selected_fields
        columns = [c for c in self.source.columns if selected is None or c.name in selected]
        present = {column.name for column in columns}
        needed = [*self.stream.primary_key, *([self.stream.cursor_field] if self.stream.cursor_field else [])]
        for name in [*needed, *(selected or [])]:
            if name not in present:
                role = "primary key or cursor column" if name in needed else "column"
                raise self._misfit(f"{role} {name} is gone from the source")
        return columns

    def _selection(self, columns: list[SourceColumn], state: StreamState, *, is_new: bool) -> Selection:
        assert self.source is not None  # noqa: S101  (_columns has refused it)
        mode = self.stream.sync_mode
        cursor = None
        if mode in _INCREMENTAL:
            cursor = next(c for c in columns if c.name == self.stream.cursor_field)
        continues = (
            cursor is not None
            and not is_new
            and self.job.job_type == "sync"
            and state.cursor_field == self.stream.cursor_field
        )
        key = self.stream.primary_key if mode == "incremental_deduped_history" else []
        return Selection(self.source, columns, cursor, state.cursor if continues else None, key)

    def _progress(self, **counts: int | bool) -> StreamProgress:
        empty = StreamProgress(namespace=self.stream.namespace, name=self.stream.name)
        return empty.model_copy(update=counts)

    def _misfit(self, what: str) -> SchemaChanged:
        return SchemaChanged(
            f"Stream {self.stream.namespace}.{self.stream.name}: {what}",
            state="nothing of this stream was written; earlier rows stay as they are",
            next_command="floe connections plan",
        )


def _position(state: StreamState) -> StreamState:
    """Return what must be remembered even if no row was written."""
    return replace(state, job_id=None, rows_read=0, rows_written=0, bytes_read=0)


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    # A commit that failed has ended the transaction already.
    with suppress(duckdb.TransactionException):
        connection.execute("rollback")
