"""Reconcile a stream: does the warehouse have what the source has? Repair it where it does not.

A sync by cursor misses rows that were committed late, and never sees a delete. Here every row up to the
newest replicated cursor is compared, whatever Airbyte did, and each difference is one of

missing      the source alone has it: committed late, or with an older cursor, or without one
stale        both have it, and it differs
deleted      the warehouse alone has it, or has it under a key that is no more
not yet due  the source's row is newer than the newest replicated one: the next sync's business

Streams that are read as a whole have no cursor to tell what is due: a difference counts only when a sync
began after the last comparison and PostgreSQL has counted no change of the table since then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import IsolationLevel

from blocks import reconciliations, repairs
from blocks.canonical_text import ColumnPair
from blocks.compared_table import Bounds, ComparedTable, Key
from blocks.comparison import Findings, Verdict, batches, examine, find_differences
from blocks.errors import ConfigurationError, PermanentError, ServiceUnavailable
from blocks.merged_rows import find_raw_table
from blocks.postgres_catalog import SourceTable, read_tables
from blocks.reconcile_plan import PlannedStream
from blocks.reconciliations import LastComparison, Reconciliation
from blocks.warehouse_dialects import DUCKDB, SNOWFLAKE, Database, Dialect
from lambda_csv_loader.ducklake import sql_string

# A share says little about a handful of rows.
FEW_ROWS = 20
_WINDOWED = ("date", "timestamp", "timestamptz")


class DifferencesFound(PermanentError):
    """The warehouse differs from the source, and the stream's policy is to fail.

    Args:
        what: which rows differ.
        found: the counts, remembered already.
        next_command: how to have such rows repaired.
    """

    def __init__(self, what: str, found: Reconciliation, *, next_command: str) -> None:
        super().__init__(what, state="these rows were not repaired", next_command=next_command)
        self.found = found


class TooManyDeletes(PermanentError):
    """More rows are gone from the source than can be believed."""


@dataclass(frozen=True)
class Sides:
    """The two databases that are compared.

    Attributes:
        name: of the source.
        source: its PostgreSQL.
        database: the warehouse.
        dialect: of the warehouse.
    """

    name: str
    source: psycopg.Connection
    database: Database
    dialect: Dialect


def dialect_of(target: str) -> Dialect:
    """Return the dialect of a warehouse by its dbt target's name."""
    return DUCKDB if target == "local" else SNOWFLAKE


def is_due(stream: PlannedStream, last_read: datetime | None, now: datetime) -> bool:
    """Tell whether a stream's last comparison is old enough for another one.

    Args:
        stream: says how often it is compared.
        last_read: when it was read for the last one; None when there was none.
        now: the present moment.
    """
    return last_read is None or now - last_read >= stream.policy.compare_every


def reconcile_stream(
    sides: Sides, stream: PlannedStream, asked_window: timedelta | None = None
) -> Reconciliation:
    """Compare one stream with its source, repair it as its policy says, and remember the outcome.

    Args:
        sides: the source and the warehouse, both open; `reconciliations.prepare` was called.
        stream: what to compare.
        asked_window: instead of the declared window, where the cursor is a date or a timestamp; without
            such a cursor the stream is compared as if nothing had been asked.

    Raises:
        ConfigurationError: the stream cannot be compared; the message says why.
        TooManyDeletes: the source lost more rows than the policy believes; nothing was written.
        TooManyDifferences: more rows differ than are repaired one by one; nothing was written.
        DifferencesFound: there are differences, and the policy is to fail.
        NotRepaired: repairs were written or refused, and rows still differ.
        ServiceUnavailable: the source's connection broke.
    """
    try:
        return _Reconciler(sides, stream, asked_window).run()
    except psycopg.OperationalError as error:
        raise ServiceUnavailable(
            f"{sides.name}: the source failed while {stream.full_name} was compared: {_first_line(error)}",
            state="repairs written so far are right and kept",
            next_command=f"prefect deployment run reconcile/{sides.name}",
        ) from None
    except psycopg.Error as error:
        raise ConfigurationError(
            f"{sides.name}: {stream.full_name} cannot be compared: {_first_line(error)}",
            state="nothing was written",
            next_command="floe connections plan",
        ) from None


class _Reconciler:
    def __init__(self, sides: Sides, stream: PlannedStream, asked_window: timedelta | None) -> None:
        self._sides = sides
        self._stream = stream
        self._policy = stream.policy
        self._asked_window = asked_window

    def run(self) -> Reconciliation:
        last = _last_comparison(self._sides, self._stream)
        read_at = datetime.now(UTC)
        mark = _change_mark(self._sides.source, self._stream)
        table, findings = self._compare()
        if self._stream.cursor is None and not _nothing_changed_since(last, mark):
            found: dict[Verdict, list[Key]] = {"not_yet_due": findings.keys}
        else:
            found = self._examine(table, findings)
        if self._policy.deletes == "ignore":
            found.pop("deleted", None)
        self._refuse_unbelievable(table, findings, found)
        written = self._repair(table, findings.bounds, found)
        counts = Counter({verdict: len(keys) for verdict, keys in found.items()})
        done = Reconciliation(
            source=self._sides.name,
            stream=self._stream.full_name,
            compared=self._policy.compare,
            read_at=read_at,
            finished_at=datetime.now(UTC),
            newest_cursor=findings.bounds.upper,
            source_rows=findings.source_rows,
            warehouse_rows=findings.warehouse_rows,
            missing=counts["missing"],
            stale=counts["stale"],
            deleted=counts["deleted"],
            not_yet_due=counts["not_yet_due"],
            repaired=written.upserts + written.deletes,
            source_mark=mark,
            asked_window_seconds=_seconds(self._asked_window) if _can_have_window(table) else None,
        )
        reconciliations.record(self._sides.database, done)
        self._fail_if_declared(table, found, done)
        return done

    def _compare(self) -> tuple[ComparedTable, Findings]:
        """Find the keys that differ, each side in one snapshot, the source's first."""
        source, database = self._sides.source, self._sides.database
        source.isolation_level = IsolationLevel.REPEATABLE_READ
        try:
            with source.transaction():
                described = _source_table(source, self._stream)
                database.execute("begin")
                try:
                    table = self._table(described)
                    findings = find_differences(source, database, table, self._window_seconds(table))
                finally:
                    database.execute("rollback")
        finally:
            source.isolation_level = None
        return table, findings

    def _examine(self, table: ComparedTable, findings: Findings) -> dict[Verdict, list[Key]]:
        found: dict[Verdict, list[Key]] = {}
        for batch in batches(findings.keys):
            rows = examine(self._sides.source, self._sides.database, table, findings.bounds, batch)
            for row in rows:
                found.setdefault(row.verdict, []).append(row.key)
        return found

    def _refuse_unbelievable(
        self, table: ComparedTable, findings: Findings, found: dict[Verdict, list[Key]]
    ) -> None:
        gone = found.get("deleted", [])
        most = max(FEW_ROWS, self._policy.largest_share_deleted * findings.warehouse_rows)
        if self._policy.deletes == "repair" and len(gone) > most:
            raise TooManyDeletes(
                f"{self._sides.name}: {len(gone):,} of {findings.warehouse_rows:,} rows of "
                f"{self._stream.full_name} are gone from the source, more than the share of "
                f"{self._policy.largest_share_deleted:g} that is believed; the first are "
                f"{repairs.keys_shown(table, gone)}",
                state="nothing was written",
                next_command="look at the source; if the rows are to go, raise repair.largest_share_deleted "
                f"in deployments/connections/{self._sides.name}.yaml",
            )

    def _repair(
        self, table: ComparedTable, bounds: Bounds, found: dict[Verdict, list[Key]]
    ) -> repairs.Written:
        verdicts: set[Verdict] = set()
        if self._policy.differences == "repair":
            verdicts |= {"missing", "stale"}
        if self._policy.deletes == "repair":
            verdicts.add("deleted")
        keys = [key for verdict in sorted(verdicts) for key in found.get(verdict, [])]
        if not keys:
            return repairs.Written()
        repairs.prepare(self._sides.database, table)
        table = self._table(table.source)
        return repairs.write(
            self._sides.source, self._sides.database, table, bounds, keys, frozenset(verdicts)
        )

    def _fail_if_declared(
        self, table: ComparedTable, found: dict[Verdict, list[Key]], done: Reconciliation
    ) -> None:
        fatal: list[Verdict] = ["missing", "stale"] if self._policy.differences == "fail" else []
        if self._policy.deletes == "fail":
            fatal.append("deleted")
        differences = {verdict: found[verdict] for verdict in fatal if found.get(verdict)}
        if differences:
            words = "; ".join(
                f"{len(keys):,} {verdict}: {repairs.keys_shown(table, keys)}"
                for verdict, keys in differences.items()
            )
            raise DifferencesFound(
                f"{self._sides.name}: {self._stream.full_name} differs from its source: {words}",
                done,
                next_command=f"set repair in deployments/connections/{self._sides.name}.yaml to repair them",
            )

    def _table(self, described: SourceTable) -> ComparedTable:
        """Pair the columns of both sides as they are now."""
        stream = self._stream
        raw = find_raw_table(
            self._sides.database, self._sides.dialect.name, stream.raw_schema, stream.raw_table
        )
        if raw is None:
            raise ConfigurationError(
                f"{self._sides.name}: {stream.full_name} was never synced: there is no table "
                f"{stream.raw_schema}.{stream.raw_table}",
                next_command=f"prefect deployment run replicate/{self._sides.name}",
            )
        pairs = {
            column.name: ColumnPair(column, found, column.name in stream.primary_key)
            for column in described.columns
            if (stream.columns is None or column.name in stream.columns)
            and (found := raw.column(column.name)) is not None
        }
        for name in [*stream.primary_key, *([stream.cursor] if stream.cursor else [])]:
            if name not in pairs:
                raise self._misfit(f"column {name} is gone from the source or was not replicated")
        order = [column.name for column in raw.columns]
        columns = sorted(pairs.values(), key=lambda pair: order.index(pair.raw.name))
        key = [pairs[name] for name in stream.primary_key]
        whole_rows = self._policy.compare == "all"
        self._refuse_nested(columns if whole_rows else key)
        return ComparedTable(
            dialect=self._sides.dialect,
            source=described,
            raw=raw,
            columns=columns,
            key=key,
            cursor=pairs[stream.cursor] if stream.cursor else None,
            whole_rows=whole_rows,
            keeps_newest=stream.sync_mode == "incremental_deduped_history",
        )

    def _refuse_nested(self, columns: list[ColumnPair]) -> None:
        nested = [pair for pair in columns if pair.raw.kind == "nested"]
        if nested:
            names = ", ".join(f"{pair.source.name} ({pair.raw.declared})" for pair in nested)
            raise self._misfit(
                f"{names} cannot be compared: the warehouse writes such values in an order and spacing of "
                "its own; compare only the key, or select other columns"
            )

    def _window_seconds(self, table: ComparedTable) -> int | None:
        if _can_have_window(table):
            return _seconds(self._policy.window if self._asked_window is None else self._asked_window)
        if self._policy.window is not None:
            raise self._misfit("repair.window needs a cursor that is a date or a timestamp")
        return None

    def _misfit(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self._sides.name}: {self._stream.full_name}: {what}",
            state="nothing was written",
            next_command=f"change deployments/connections/{self._sides.name}.yaml, "
            "then floe connections apply",
        )


def _can_have_window(table: ComparedTable) -> bool:
    return table.cursor is not None and table.cursor.source.type_name in _WINDOWED


def _seconds(window: timedelta | None) -> int | None:
    return None if window is None else int(window.total_seconds())


def _source_table(source: psycopg.Connection, stream: PlannedStream) -> SourceTable:
    def run(query: str) -> list[str]:
        return [row[0] for row in source.execute(query.encode()).fetchall()]

    tables = read_tables(run, [stream.namespace])
    if (stream.namespace, stream.name) not in tables:
        raise ConfigurationError(
            f"{stream.full_name}: there is no such table in the source",
            state="nothing was written",
            next_command="floe connections plan",
        )
    return tables[stream.namespace, stream.name]


def _last_comparison(sides: Sides, stream: PlannedStream) -> LastComparison | None:
    return reconciliations.last_comparison(
        sides.database, sides.dialect, sides.name, stream.full_name, stream.name
    )


def _change_mark(source: psycopg.Connection, stream: PlannedStream) -> str | None:
    """Return PostgreSQL's counters of changes to a table; None for what it does not count."""
    row: Any = source.execute(
        "select concat_ws('/', n_tup_ins, n_tup_upd, n_tup_del, pg_relation_filenode(relid)) "
        "from pg_stat_user_tables join pg_class on oid = relid and relkind = 'r' "
        f"where schemaname = {sql_string(stream.namespace)} and pg_stat_user_tables.relname = "
        f"{sql_string(stream.name)}".encode()
    ).fetchone()
    return str(row[0]) if row else None


def _nothing_changed_since(last: LastComparison | None, mark: str | None) -> bool:
    return last is not None and last.synced_since and mark is not None and last.source_mark == mark


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
