"""Publish into Snowflake: rows staged and counted first, then one short transaction.

Updating the dataset's row takes a lock that other publishers wait for, and a statement of Snowflake's
sees all that was committed before it began; so the ledger that is read next is the last word, although
nothing enforces uniqueness. https://docs.snowflake.com/en/sql-reference/transactions
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ledger import Candidate, Decision, LedgerRow, StillCurrent, decide_all
from lambda_csv_loader.ops_tables import LEDGER, REJECTS
from lambda_csv_loader.publish_plan import (
    Load,
    ledger_changes,
    read_again,
    reject_rows,
    related,
    replaced,
    to_load,
)
from lambda_csv_loader.retrying import Conflict
from lambda_csv_loader.settings import SnowflakeSettings
from lambda_csv_loader.snowflake_session import SnowflakeSession, open_snowflake
from lambda_csv_loader.snowflake_staging import CountsDiffer, staged_rows
from lambda_csv_loader.snowflake_tables import name_of, prepare_dataset, prepare_ops, sql_type, table_of
from lambda_csv_loader.verdict import Reject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MANY = 1000
"""Values bound in one statement's list."""
_TIMES = [number for number, kind in enumerate(LEDGER.values()) if kind == "timestamptz"]
# As numbers: the tests' emulator hands a null timestamp over as 1970.
_OF_LEDGER = ", ".join(
    f"date_part(epoch_microsecond, {name})" if kind == "timestamptz" else name
    for name, kind in LEDGER.items()
)


class SnowflakeWriter:
    """A `Writer` on one Snowflake connection."""

    def __init__(
        self, settings: SnowflakeSettings, *, open_connection: Callable[[], Any] | None = None
    ) -> None:
        """Remember where the account is.

        Args:
            settings: of the account.
            open_connection: makes the connection; one by key pair when None.
        """
        self._session = SnowflakeSession(open_connection or (lambda: open_snowflake(settings)))

    def known(self, dataset: str, file_ids: Sequence[str]) -> dict[str, LedgerRow]:
        """Return the ledger rows of these versions."""

        def read() -> dict[str, LedgerRow]:
            prepare_ops(self._session)
            rows = [
                row
                for some in _portions(file_ids)
                for row in self._rows(f"dataset = ? and file_id in ({_marks(some)})", dataset, *some)
            ]
            return {row.file_id: row for row in rows}

        return self._session.run(read)

    def same_content(self, dataset: str, contents: Collection[str]) -> list[LedgerRow]:
        """Return the ledger rows of a dataset whose content (sha256) is one of these."""

        def read() -> list[LedgerRow]:
            prepare_ops(self._session)
            return [
                row
                for some in _portions(list(contents))
                for row in self._rows(f"dataset = ? and sha256 in ({_marks(some)})", dataset, *some)
            ]

        return self._session.run(read)

    def ledger(self, dataset: str, prefix: str = "") -> list[LedgerRow]:
        """Return the ledger rows of a dataset whose keys begin with `prefix`."""
        return self._read("dataset = ? and startswith(key, ?)", dataset, prefix)

    def find(self, file_id: str) -> LedgerRow | None:
        """Return the ledger row of one version, of whatever dataset."""
        rows = self._read("file_id = ?", file_id)
        return rows[0] if rows else None

    def rejects(self, file_id: str) -> list[Reject]:
        """Return the rows that one file lost."""

        def read() -> list[Reject]:
            prepare_ops(self._session)
            rows = self._session.rows(
                "select line, file_row, column_name, rule, message, raw_line from ops.csv_rejects "
                "where file_id = ? order by file_row",
                file_id,
            )
            return [
                Reject(line=line, row=row, column=column, rule=rule, message=message, raw_line=raw_line)
                for line, row, column, rule, message, raw_line in rows
            ]

        return self._session.run(read)

    def publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: Sequence[Candidate],
        still_current: StillCurrent,
    ) -> list[Decision]:
        """Record the candidates and write their rows in one transaction (see `Writer`).

        Files that are uploaded and copied do not hold a lock, and a conflict does not repeat them.
        """
        session = self._session
        # Before anything is uploaded for a table that cannot take it.
        session.run(lambda: prepare_dataset(session, dataset, contract))
        staged = [candidate.staged for candidate in candidates if candidate.staged is not None]
        with staged_rows(session, contract, staged) as staging:
            return session.run(lambda: self._publish(dataset, contract, candidates, still_current, staging))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: Sequence[Candidate],
        still_current: StillCurrent,
        staging: str | None,
    ) -> list[Decision]:
        execute = self._session.execute
        # DDL would commit the transaction; mostly this finds everything prepared.
        prepare_dataset(self._session, dataset, contract)
        execute("begin transaction")
        moment = datetime.now(UTC).isoformat()
        locked = execute(
            "update ops.datasets set publishes = publishes + 1, published_at = cast(? as timestamp_tz) "
            "where dataset = ?",
            moment,
            dataset,
        ).rowcount
        if not locked:
            self._session.prepared.clear()
            raise Conflict()
        known = self._related(dataset, contract, candidates)
        decisions = decide_all(candidates, known, contract, still_current)
        # Asking the bucket may take long, and Snowflake ends a transaction that is idle for 5 minutes
        # while another waits: what followed would be committed statement by statement.
        held = "select 1 from ops.datasets where dataset = ? and published_at = cast(? as timestamp_tz)"
        if not self._session.rows(held, dataset, moment):
            raise Conflict()
        fresh = [pair for pair in zip(candidates, decisions, strict=True) if not pair[1].known]
        if not fresh:
            execute("rollback")
            return decisions
        if contract is not None:
            self._write_rows(contract, to_load(fresh), staging)
        self._write_ledger([made for _, made in fresh])
        self._write_rejects(dataset, fresh)
        execute("commit")
        return decisions

    def _write_rows(self, contract: Contract, loads: list[Load], staging: str | None) -> None:
        if not loads:
            return
        table = table_of(contract)
        self._delete_replaced(contract, table, [made for _, made in loads])
        if staging is None:
            return
        columns = ", ".join(name_of(name) for name in (*contract.names, "_file_id", "_file_row"))
        kept = ""
        if contract.mode == "upsert":
            self._delete_older(contract, table, staging, loads[0][1].row)
            same = _same_key(contract, "present")
            kept = f"and not exists (select 1 from {table} as present where {same})"
        inserted = 0
        for some in _portions([made.row.file_id for _, made in loads]):
            inserted += self._session.execute(
                f"insert into {table} ({columns}, {name_of('_loaded_at')}) "
                f"select {columns}, current_timestamp() from {staging} as staged "
                f"where staged._file_id in ({_marks(some)}) {kept}",
                *some,
            ).rowcount
        expected = sum(candidate.staged.rows for candidate, _ in loads if candidate.staged is not None)
        if contract.mode == "upsert":
            # Alone in its transaction: keys that a newer file holds already were left out.
            loads[0][1].row = loads[0][1].row._replace(rows_loaded=inserted)
        elif inserted != expected:
            raise CountsDiffer(
                f"{contract.dataset}: {inserted} of {expected} staged rows were inserted",
                state="nothing was written; it is tried again",
            )

    def _delete_replaced(self, contract: Contract, table: str, made: list[Decision]) -> None:
        gone = replaced(contract, made)
        if gone is None:
            self._session.execute(f"delete from {table}")
            return
        kinds = {column.name: sql_type(column.column_type) for column in contract.columns}
        for name, values in gone.items():
            for some in _portions(values):
                marks = ", ".join(f"cast(? as {kinds.get(name, 'VARCHAR')})" for _ in some)
                self._session.execute(f"delete from {table} where {name_of(name)} in ({marks})", *some)

    def _delete_older(self, contract: Contract, table: str, staging: str, row: LedgerRow) -> None:
        """Remove the rows that the staged ones replace: same key, from an older upload."""
        moment = row.last_modified or datetime.now(UTC)
        self._session.execute(
            f"delete from {table} using ("
            f"select present._file_id as gone_file, present._file_row as gone_row from {table} as present "
            f"inner join {staging} as staged on {_same_key(contract, 'present')} "
            "inner join ops.csv_files as ledger on ledger.file_id = present._file_id "
            "where ledger.last_modified < cast(? as timestamp_tz) "
            "or (ledger.last_modified = cast(? as timestamp_tz) and ledger.key <= ?)"
            ") as gone where _file_id = gone.gone_file and _file_row = gone.gone_row",
            moment.isoformat(),
            moment.isoformat(),
            row.key,
        )

    def _write_ledger(self, decisions: list[Decision]) -> None:
        changes = ledger_changes(decisions)
        for some in _portions(changes.outdated):
            of_these = f"from ops.csv_files where file_id in ({_marks(some)})"
            self._session.execute(f"insert into ops.csv_file_history select * {of_these}", *some)
            self._session.execute(f"delete {of_these}", *some)
        self._insert("csv_files", LEDGER, [row[:-2] for row in changes.rows])

    def _write_rejects(self, dataset: str, fresh: list[Load]) -> None:
        for some in _portions(read_again(fresh)):
            self._session.execute(f"delete from ops.csv_rejects where file_id in ({_marks(some)})", *some)
        self._insert("csv_rejects", REJECTS, reject_rows(dataset, fresh))

    def _insert(self, table: str, kinds: dict[str, str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows into one of the loader's tables; they end where `recorded_at` follows."""
        if not rows:
            return
        width = len(rows[0])
        names = list(kinds)
        # All as text, so that a column of VALUES has one type whatever is null; then cast.
        taken = ", ".join(
            f"cast(column{number} as {kind.split()[0]})"
            for number, kind in enumerate(list(kinds.values())[:width], start=1)
        )
        for some in _portions(rows, 100):
            marks = ", ".join(f"({', '.join('?' * width)})" for _ in some)
            self._session.execute(
                f"insert into ops.{table} ({', '.join(names[: width + 1])}) "
                f"select {taken}, current_timestamp() from values {marks}",
                *(_text(value) for row in some for value in row),
            )

    def _related(
        self, dataset: str, contract: Contract | None, candidates: Sequence[Candidate]
    ) -> list[LedgerRow]:
        found: dict[str, LedgerRow] = {}
        for some in _portions(candidates):
            wanted = related(some, contract)
            if wanted is None:
                return self._rows("dataset = ?", dataset)
            conditions = [f"{name} in ({_marks(values)})" for name, values in wanted.items() if values]
            values = [value for values in wanted.values() for value in values]
            rows = self._rows(f"dataset = ? and ({' or '.join(conditions)})", dataset, *values)
            found |= {row.file_id: row for row in rows}
        return list(found.values())

    def _read(self, condition: str, *values: str) -> list[LedgerRow]:
        def read() -> list[LedgerRow]:
            prepare_ops(self._session)
            return self._rows(condition, *values)

        return self._session.run(read)

    def _rows(self, condition: str, *values: str) -> list[LedgerRow]:
        rows = self._session.rows(f"select {_OF_LEDGER} from ops.csv_files where {condition}", *values)
        return [LedgerRow._make(_with_times(row)) for row in rows]


def _same_key(contract: Contract, other: str) -> str:
    return " and ".join(f"{other}.{name_of(name)} = staged.{name_of(name)}" for name in contract.primary_key)


def _with_times(row: tuple[Any, ...]) -> list[Any]:
    return [
        _EPOCH + timedelta(microseconds=int(value)) if number in _TIMES and value is not None else value
        for number, value in enumerate(row)
    ]


def _text(value: object) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value is None else str(value)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _portions(values: Sequence[Any], size: int = _MANY) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
