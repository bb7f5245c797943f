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
from deployments.local.airbyte.raw_table import Fit, RawTable, SchemaChanged
from deployments.local.airbyte.source_reader import Extent, Selection, SourceReader, meta_columns
from deployments.local.airbyte.stream_fit import misfit
from deployments.local.airbyte.sync_state import StateTable, StreamState
from lambda_csv_loader.ducklake import sql_name

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
            SchemaChanged: the source does not fit the declaration or the replicated table.
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
        fit = target.fit(self._columns(), self.job.schema_updates, self._declared)
        selection = self._selection(fit, state)
        extent = self.reader.measure(selection)
        if extent.null_keys:
            raise self._misfit(f"{extent.null_keys} rows have NULL in the primary key {selection.key}")
        if extent.unfit_keys:
            raise self._misfit(
                f"{extent.unfit_keys} rows have NaN, infinity or a year outside 1 to 9999 in the primary key "
                f"{selection.key}; in the lake that would be NULL"
            )
        self.report(self._progress(estimated=extent.rows))
        # A saved cursor means that there are rows; asking would cost a look at every file.
        is_empty = fit.is_new or (selection.is_full and target.is_empty())
        return self._write(target, fit, selection, extent, state, is_empty=is_empty)

    def _write(
        self,
        target: RawTable,
        fit: Fit,
        selection: Selection,
        extent: Extent,
        state: StreamState,
        *,
        is_empty: bool,
    ) -> StreamProgress:
        replaces = self._replaces
        generation = state.generation_id + (1 if replaces and not is_empty else 0)
        extracted_at = datetime.now(UTC).isoformat()
        added = [meta_columns(self.job.job_id, generation, extracted_at)]
        added += [f"null::{kind} as {sql_name(name)}" for name, kind in fit.gone.items()]
        relation = self.reader.relation(selection, extent, ", ".join(added))
        written, size = 0, 0
        appends = is_empty or (self.stream.sync_mode.endswith("_append") and not replaces)
        if appends and extent.rows:
            # Straight into the lake: no second copy of a large first load.
            if selection.must_rank:
                written = target.append(self._stage(relation, extent))
            else:
                written = target.append(relation)
                self._check_count(written, extent)
            size = self._size(target.sql, selection.columns, f"_airbyte_extracted_at = '{extracted_at}'")
        elif not appends and (extent.rows or replaces):
            staged = self._stage(relation, extent)
            size = self._size(staged, selection.columns)
            if not replaces:
                written = target.merge(staged, fit, selection.key, selection.cursor)
            elif self.job.job_type == "refresh" or not target.holds(staged, fit.names):
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
        self._check_count(int(row[0]) if row else 0, extent)
        return STAGING

    def _check_count(self, came: int, extent: Extent) -> None:
        if came != extent.rows:
            raise duckdb.InvalidInputException(f"{came} rows came, {extent.rows} were counted just before")

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

    @property
    def _declared(self) -> list[str]:
        """The columns that the connection names."""
        return [*self._needed, *(self.stream.selected_fields or [])]

    @property
    def _needed(self) -> list[str]:
        """The columns without which the sync cannot be what it was declared to be."""
        stream = self.stream
        key = stream.primary_key if stream.sync_mode == "incremental_deduped_history" else []
        cursor = [stream.cursor_field] if stream.sync_mode in _INCREMENTAL and stream.cursor_field else []
        return [*key, *cursor]

    def _columns(self) -> list[SourceColumn]:
        if self.source is None:
            raise self._misfit("there is no such table in the source")
        stream, selected = self.stream, self.stream.selected_fields
        columns = [c for c in self.source.columns if selected is None or c.name in selected]
        present = {column.name for column in columns}
        for name in self._needed:
            if name not in present:
                what = f"primary key or cursor column {name} is gone from the source"
                raise self._misfit(what, pauses_connection=True)
        unfit = misfit(self.source, stream.sync_mode, stream.cursor_field, stream.primary_key, selected)
        if unfit:
            raise self._misfit(unfit)
        return columns

    def _selection(self, fit: Fit, state: StreamState) -> Selection:
        assert self.source is not None  # noqa: S101  (_columns has refused it)
        mode = self.stream.sync_mode
        cursor = None
        if mode in _INCREMENTAL:
            cursor = next(c for c in fit.columns if c.name == self.stream.cursor_field)
        continues = (
            cursor is not None
            and not fit.is_new
            and self.job.job_type == "sync"
            and state.cursor_field == self.stream.cursor_field
        )
        key = self.stream.primary_key if mode == "incremental_deduped_history" else []
        return Selection(self.source, fit.columns, cursor, state.cursor if continues else None, key)

    def _progress(self, **counts: int | bool) -> StreamProgress:
        empty = StreamProgress(namespace=self.stream.namespace, name=self.stream.name)
        return empty.model_copy(update=counts)

    def _misfit(self, what: str, *, pauses_connection: bool = False) -> SchemaChanged:
        what = f"Stream {self.stream.namespace}.{self.stream.name}: {what}"
        return SchemaChanged(what, pauses_connection=pauses_connection)


def _position(state: StreamState) -> StreamState:
    """Return what must be remembered even if no row was written."""
    return replace(state, job_id=None, rows_read=0, rows_written=0, bytes_read=0)


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    # A commit that failed has ended the transaction already, and a lost connection cannot roll back; the
    # error that led here says more.
    with suppress(duckdb.Error):
        connection.execute("rollback")
