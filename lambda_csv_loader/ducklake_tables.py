"""The loader's tables in DuckLake: made when missing, by any number of processes at once."""

from __future__ import annotations

from typing import NamedTuple

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ducklake import CATALOG, sql_name, sql_string
from lambda_csv_loader.ops_tables import OPS_TABLES, declared
from lambda_csv_loader.session import Session
from lambda_csv_loader.writer import TableMismatch


def prepare_ops(session: Session) -> None:
    """Make the schema `ops` and its tables unless they are there."""
    if "ops" in session.prepared:
        return
    session.execute("create schema if not exists ops")
    # Not from duckdb_tables(): that counts the rows of every table of the lake first.
    present = {name for (name,) in session.rows(_names("duckdb_columns()", "distinct table_name", "ops"))}
    if missing := OPS_TABLES.keys() - present:
        session.execute("begin transaction")
        for name in missing:
            session.execute(f"create table ops.{name} ({declared(OPS_TABLES[name])})")
        if "datasets" in missing:
            # A row that is there from the table's first moment: whoever adds a dataset updates it
            # first, so two of them cannot both add the same.
            session.execute("insert into ops.datasets values ('', 0, now())")
        session.execute("commit")
    session.prepared.add("ops")


def prepare_dataset(session: Session, dataset: str, contract: Contract | None) -> None:
    """Make the dataset's row in `ops.datasets` and, where it has a contract, its table.

    Raises:
        TableMismatch: a column of the table has another type than the contract declares.
    """
    prepare_ops(session)
    mark = f"{dataset}:{hash(contract)}"
    if mark in session.prepared:
        return
    name = sql_string(dataset)
    if not session.rows(f"select 1 from ops.datasets where dataset = {name}"):
        session.execute("begin transaction")
        session.execute("update ops.datasets set publishes = publishes + 1 where dataset = ''")
        if not session.rows(f"select 1 from ops.datasets where dataset = {name}"):
            session.execute(f"insert into ops.datasets values ({name}, 0, now())")
        session.execute("commit")
    if contract is not None:
        _prepare_table(session, contract)
    session.prepared.add(mark)


class TableColumn(NamedTuple):
    """A column of a dataset's table as it is in the lake; the type is DuckDB's, in lower case."""

    kind: str
    nullable: bool


def table_columns(session: Session, contract: Contract) -> dict[str, TableColumn]:
    """Return the columns that a dataset's table has, by name; none where there is no table."""
    rows = session.rows(
        _names("duckdb_columns()", "column_name, lower(data_type), is_nullable", contract.schema_name)
        + f" and table_name = {sql_string(contract.dataset)}"
    )
    return {name: TableColumn(kind, nullable) for name, kind, nullable in rows}


def declared_kinds(contract: Contract) -> dict[str, str]:
    """Return the columns that a dataset's table ought to have, with their types as `TableColumn` has them."""
    return {name: _shown_type(kind) for name, kind in _wanted(contract).items()}


def _wanted(contract: Contract) -> dict[str, str]:
    wanted = {column.name: column.column_type.declared for column in contract.columns}
    return wanted | {"_file_id": "varchar", "_file_row": "bigint", "_loaded_at": "timestamptz"}


def _prepare_table(session: Session, contract: Contract) -> None:
    wanted, found = _wanted(contract), table_columns(session, contract)
    table = sql_name(contract.schema_name, contract.dataset)
    if not found:
        required = {column.name for column in contract.columns if not column.nullable}
        columns = ", ".join(
            f"{sql_name(name)} {_sql_type(kind)}{' not null' if name in required else ''}"
            for name, kind in wanted.items()
        )
        session.execute(f"create schema if not exists {sql_name(contract.schema_name)}")
        session.execute(f"create table {table} ({columns})")
        return
    wrong = [
        f"{name} is {found[name].kind}, declared {kind}"
        for name, kind in wanted.items()
        if name in found and found[name].kind != _shown_type(kind)
    ]
    if wrong:
        raise TableMismatch(
            f"{contract.schema_name}.{contract.dataset} does not fit its contract: {'; '.join(wrong)}",
            state="nothing was written; the files wait in the queue",
            next_command="change the type in the contract, or migrate the table",
        )
    for name in [name for name in wanted if name not in found]:
        session.execute(f"alter table {table} add column {sql_name(name)} {_sql_type(wanted[name])}")


def _names(function: str, columns: str, schema: str) -> str:
    return (
        f"select {columns} from {function} "
        f"where database_name = {sql_string(CATALOG)} and schema_name = {sql_string(schema)}"
    )


def _sql_type(kind: str) -> str:
    # DuckDB ignores a length, and DuckLake stores none: the validator is what enforces it.
    return "varchar" if kind.startswith("varchar") else kind


def _shown_type(kind: str) -> str:
    """Return the type as DuckDB's catalog spells it, in lower case."""
    return {"timestamptz": "timestamp with time zone"}.get(_sql_type(kind), _sql_type(kind))
