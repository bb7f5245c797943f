"""Publish into DuckLake: rows, ledger and rejects in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import pyarrow as pa

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ducklake import DuckLakeSettings, connect, sql_name, sql_string
from lambda_csv_loader.ducklake_files import AddedFiles
from lambda_csv_loader.ducklake_tables import prepare_dataset, prepare_ops
from lambda_csv_loader.keys import engine_config
from lambda_csv_loader.ledger import Candidate, Decision, LedgerRow, StillCurrent, decide_all
from lambda_csv_loader.publish_plan import (
    AnyOf,
    Load,
    ledger_changes,
    read_again,
    reject_rows,
    related,
    replaced,
    to_load,
)
from lambda_csv_loader.session import Session
from lambda_csv_loader.verdict import Reject
from lambda_csv_loader.writer import WarehouseUnavailable

_STAGED = "_floe_staged"
_OF_LEDGER = ", ".join(sql_name(name) for name in LedgerRow._fields)


class DuckLakeWriter:
    """A `Writer` on one DuckLake connection."""

    def __init__(
        self, settings: DuckLakeSettings, *, open_connection: Callable[[], Any] | None = None
    ) -> None:
        """Remember where the lake is.

        Args:
            settings: of the lake.
            open_connection: makes the connection; one with two threads when None.
        """
        self._session = Session(open_connection or (lambda: _open(settings)))
        self._data_path = settings.data_path

    def known(self, dataset: str, file_ids: Sequence[str]) -> dict[str, LedgerRow]:
        """Return the ledger rows of these versions."""
        condition = f"file_id in ({_listed(file_ids)})"
        return {row.file_id: row for row in self._session.run(lambda: self._rows(dataset, condition))}

    def same_content(self, dataset: str, contents: Collection[str]) -> list[LedgerRow]:
        """Return the ledger rows of a dataset whose content (sha256) is one of these."""
        return self._session.run(lambda: self._rows(dataset, f"sha256 in ({_listed(contents)})"))

    def ledger(self, dataset: str, prefix: str = "") -> list[LedgerRow]:
        """Return the ledger rows of a dataset whose keys begin with `prefix`."""
        return self._session.run(lambda: self._rows(dataset, f"starts_with(key, {sql_string(prefix)})"))

    def find(self, file_id: str) -> LedgerRow | None:
        """Return the ledger row of one version, of whatever dataset."""
        rows = self._session.run(lambda: self._rows(None, f"file_id = {sql_string(file_id)}"))
        return rows[0] if rows else None

    def rejects(self, file_id: str) -> list[Reject]:
        """Return the rows that one file lost."""

        def read() -> list[Reject]:
            prepare_ops(self._session)
            names = ("line", "row", "column", "rule", "message", "raw_line")
            rows = self._session.rows(
                "select line, file_row, column_name, rule, message, raw_line from ops.csv_rejects "
                f"where file_id = {sql_string(file_id)} order by file_row"
            )
            return [Reject(**dict(zip(names, row, strict=True))) for row in rows]

        return self._session.run(read)

    def publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: Sequence[Candidate],
        still_current: StillCurrent,
    ) -> list[Decision]:
        """Record the candidates and write their rows in one transaction (see `Writer`)."""
        return self._session.run(lambda: self._publish(dataset, contract, candidates, still_current))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: Sequence[Candidate],
        still_current: StillCurrent,
    ) -> list[Decision]:
        prepare_dataset(self._session, dataset, contract)
        execute = self._session.execute
        execute("begin transaction")
        execute(
            "update ops.datasets set publishes = publishes + 1, published_at = now() "
            f"where dataset = {sql_string(dataset)}"
        )
        known = self._rows(dataset, _condition(related(candidates, contract)))
        decisions = decide_all(candidates, known, contract, still_current)
        fresh = [pair for pair in zip(candidates, decisions, strict=True) if not pair[1].known]
        if not fresh:
            execute("rollback")
            return decisions
        added = AddedFiles(self._session, self._data_path)
        try:
            if contract is not None:
                self._write_rows(contract, to_load(fresh), added)
            self._write_ledger([made for _, made in fresh])
            self._write_rejects(dataset, fresh)
        except BaseException:
            added.take_back()
            raise
        execute("commit")
        return decisions

    def _write_rows(self, contract: Contract, loads: list[Load], added: AddedFiles) -> None:
        if not loads:
            return
        table = sql_name(contract.schema_name, contract.dataset)
        gone = replaced(contract, [made for _, made in loads])
        if gone != {}:
            self._session.execute(f"delete from {table} where {_condition(gone, contract)}")
        staged = [candidate.staged for candidate, _ in loads if candidate.staged is not None]
        tables = [each.table for each in staged if each.table is not None]
        files = [each for each in staged if each.parquet is not None]
        folder = added.folder_of(contract) if files and contract.mode != "upsert" else None
        written, sources = 0, []
        if folder is not None:
            written = sum(added.add(contract, each, folder) for each in files)
        else:
            sources = [f"read_parquet({sql_string(each.parquet)})" for each in files]
        if tables:
            self._session.lend(_STAGED, pa.concat_tables(tables))
            sources.append(_STAGED)
        columns = ", ".join(sql_name(name) for name in (*contract.names, "_file_id", "_file_row"))
        for source in sources:
            kept = ""
            if contract.mode == "upsert":
                self._delete_older(contract, table, source, loads[0][1].row)
                same = _same_key(contract, "present")
                kept = f"where not exists (select 1 from {table} as present where {same})"
            ((count,),) = self._session.rows(
                f"insert into {table} ({columns}, _loaded_at) "
                f"select {columns}, now() from {source} as staged {kept}"
            )
            written += int(count)
        if tables:
            self._session.take_back(_STAGED)
        if contract.mode == "upsert":
            # Alone in its transaction: keys that a newer file holds already were left out.
            loads[0][1].row = loads[0][1].row._replace(rows_loaded=written)
        elif written != (staged_rows := sum(each.rows for each in staged)):
            raise WarehouseUnavailable(
                f"{written} rows were written where {staged_rows} are staged",
                state="nothing was committed; it is tried again",
            )

    def _delete_older(self, contract: Contract, table: str, source: str, row: LedgerRow) -> None:
        """Remove the rows that the staged ones replace: same key, from an older upload."""
        moment = f"cast({sql_string(row.last_modified)} as timestamptz)" if row.last_modified else "now()"
        self._session.execute(
            f"delete from {table} as present using {source} as staged, ops.csv_files as ledger "
            f"where {_same_key(contract, 'present')} and ledger.file_id = present._file_id "
            f"and (ledger.last_modified, ledger.key) <= ({moment}, {sql_string(row.key)})"
        )

    def _write_ledger(self, decisions: list[Decision]) -> None:
        changes = ledger_changes(decisions)
        if changes.outdated:
            listed = _listed(changes.outdated)
            self._session.execute(
                f"insert into ops.csv_file_history select * from ops.csv_files where file_id in ({listed})"
            )
            self._session.execute(f"delete from ops.csv_files where file_id in ({listed})")
        values = ", ".join(f"({', '.join(map(_literal, row[:-2]))}, now(), null)" for row in changes.rows)
        self._session.execute(f"insert into ops.csv_files values {values}")

    def _write_rejects(self, dataset: str, fresh: list[Load]) -> None:
        if again := read_again(fresh):
            self._session.execute(f"delete from ops.csv_rejects where file_id in ({_listed(again)})")
        if rows := reject_rows(dataset, fresh):
            values = ", ".join(f"({', '.join(map(_literal, row))}, now())" for row in rows)
            self._session.execute(f"insert into ops.csv_rejects values {values}")

    def _rows(self, dataset: str | None, condition: str) -> list[LedgerRow]:
        prepare_ops(self._session)
        of_dataset = f"dataset = {sql_string(dataset)} and " if dataset is not None else ""
        found = self._session.rows(f"select {_OF_LEDGER} from ops.csv_files where {of_dataset}({condition})")
        return [LedgerRow._make(row) for row in found]


def _open(settings: DuckLakeSettings) -> Any:
    connection = connect(settings, threads=2)
    # Large files must not grow the process: order is kept by `_file_row`, what is over spills.
    connection.execute("set preserve_insertion_order = false")
    for name, value in engine_config("256MB", None).items():
        connection.execute(f"set {name} = {sql_string(value)}")
    return connection


def _condition(wanted: AnyOf | None, contract: Contract | None = None) -> str:
    """Return the SQL of it; values are cast to the type that the contract gives a column."""
    if wanted is None:
        return "true"
    kinds = {column.name: column.type for column in contract.columns} if contract is not None else {}

    def literal(name: str, value: str) -> str:
        return f"cast({sql_string(value)} as {kinds[name]})" if name in kinds else sql_string(value)

    return " or ".join(
        f"{sql_name(name)} in ({', '.join(literal(name, value) for value in values) or 'null'})"
        for name, values in wanted.items()
    )


def _same_key(contract: Contract, other: str) -> str:
    return " and ".join(
        f"{other}.{sql_name(name)} = staged.{sql_name(name)}" for name in contract.primary_key
    )


def _listed(values: Iterable[object]) -> str:
    return ", ".join(sql_string(value) for value in values) or "null"


def _literal(value: object) -> str:
    if value is None:
        return "null"
    return str(value) if isinstance(value, int) else sql_string(value)
