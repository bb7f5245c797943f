"""The loader's tables on Snowflake: made when missing, compared with the contract when there.

All of it is DDL, which commits what is open, so it runs before a transaction begins. Names are
written in upper case: that is what `RAW_FILES.inventory` without quotes means to dbt. What exists is
looked up first, since `create ... if not exists` wants the privilege to create even then.
"""

from __future__ import annotations

import re

from lambda_csv_loader.column_types import ColumnType
from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ducklake import sql_name
from lambda_csv_loader.ops_tables import OPS_TABLES, declared
from lambda_csv_loader.snowflake_session import SnowflakeSession
from lambda_csv_loader.writer import TableMismatch

STAGING = "OPS_STAGING"
STAGE = "CSV_LOADER"
OWN_COLUMNS = {"_file_id": "VARCHAR", "_file_row": "NUMBER(38,0)", "_loaded_at": "TIMESTAMP_TZ"}
_TYPES = {
    "integer": "NUMBER(38,0)",
    "bigint": "NUMBER(38,0)",
    "double": "FLOAT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP_NTZ",
    "timestamptz": "TIMESTAMP_TZ",
}
_WHOLE_VARCHAR = 16_777_216
"""Characters of a VARCHAR without a length."""


def name_of(*parts: str) -> str:
    """Return a quoted, dotted name in upper case."""
    return sql_name(*(part.upper() for part in parts))


def table_of(contract: Contract) -> str:
    """Return the table of a dataset."""
    return name_of(contract.schema_name, contract.dataset)


def sql_type(kind: ColumnType) -> str:
    """Return the Snowflake type for a contract's."""
    if kind.declared.startswith("decimal"):
        return kind.declared.replace("decimal", "NUMBER")
    return _TYPES.get(kind.declared) or kind.declared.upper().replace(" ", "")


def columns_of(contract: Contract) -> dict[str, str]:
    """Return the contract's columns with their Snowflake types."""
    return {column.name.upper(): sql_type(column.column_type) for column in contract.columns}


def prepare_ops(session: SnowflakeSession) -> None:
    """Make the schemas, tables and the stage of the loader unless they are there."""
    if "ops" in session.prepared:
        return
    for schema in ("OPS", STAGING):
        _prepare_schema(session, schema)
    present = {
        name
        for (name,) in session.rows(
            "select table_name from information_schema.tables where table_schema = 'OPS'"
        )
    }
    for name, columns in OPS_TABLES.items():
        if name.upper() not in present:
            session.execute(f"create table if not exists ops.{name} ({declared(columns)})")
    # A row that is always there: whoever adds a dataset updates it first, so two of them cannot both
    # add the same. Should two processes make it at once, two such rows serve as well as one.
    session.execute(
        "insert into ops.datasets (dataset, publishes) select column1, 0 from values (?) "
        "where not exists (select 1 from ops.datasets where dataset = ?)",
        "",
        "",
    )
    session.prepared.add("ops")


def prepare_dataset(session: SnowflakeSession, dataset: str, contract: Contract | None) -> None:
    """Make the dataset's row in `ops.datasets` and, where it has a contract, its table.

    Raises:
        TableMismatch: the table's columns cannot take what the contract allows.
    """
    prepare_ops(session)
    mark = f"{dataset}:{hash(contract)}"
    if mark in session.prepared:
        return
    present = "select 1 from ops.datasets where dataset = ?"
    if not session.rows(present, dataset):
        session.execute("begin transaction")
        session.execute("update ops.datasets set publishes = publishes + 1 where dataset = ?", "")
        if not session.rows(present, dataset):
            session.execute("insert into ops.datasets (dataset, publishes) values (?, 0)", dataset)
        session.execute("commit")
    if contract is not None:
        _prepare_table(session, contract)
    session.prepared.add(mark)


def prepare_stage(session: SnowflakeSession) -> None:
    """Make the stage unless it is there."""
    if "stage" not in session.prepared:
        if not session.rows(f"show stages like '{STAGE}' in schema {STAGING}"):
            session.execute(f"create stage if not exists {STAGING}.{STAGE}")
        session.prepared.add("stage")


def _prepare_schema(session: SnowflakeSession, schema: str) -> None:
    query = "select 1 from information_schema.schemata where schema_name = ?"
    if not session.rows(query, schema):
        session.execute(f"create schema if not exists {sql_name(schema)}")


def _prepare_table(session: SnowflakeSession, contract: Contract) -> None:
    wanted = columns_of(contract)
    wanted |= {name.upper(): kind for name, kind in OWN_COLUMNS.items()}
    optional = {column.name.upper() for column in contract.columns if column.nullable}
    required = {column.name.upper() for column in contract.columns} - optional
    table = table_of(contract)
    found = {
        name: (_shown_type(kind, *sizes), nullable == "YES")
        for name, kind, *sizes, nullable in session.rows(
            "select column_name, data_type, numeric_precision, numeric_scale, character_maximum_length, "
            "is_nullable from information_schema.columns where table_schema = ? and table_name = ?",
            contract.schema_name.upper(),
            contract.dataset.upper(),
        )
    }
    if not found:
        _prepare_schema(session, contract.schema_name.upper())
        columns = ", ".join(
            f"{sql_name(name)} {kind}{' not null' if name in required else ''}"
            for name, kind in wanted.items()
        )
        session.execute(f"create table if not exists {table} ({columns})")
        return
    _refuse_wrong_types(contract, {name: kind for name, (kind, _) in found.items()})
    strict = sorted(name for name, (_, nullable) in found.items() if name in optional and not nullable)
    if strict:
        raise TableMismatch(
            f"{table} refuses rows that the contract allows: {', '.join(strict)} must not be null there",
            state="nothing was written; the files wait in the queue",
            next_command=f"alter table {table} alter column {sql_name(strict[0])} drop not null",
        )
    for name in [name for name in wanted if name not in found]:
        session.execute(f"alter table {table} add column {sql_name(name)} {wanted[name]}")


def _refuse_wrong_types(contract: Contract, found: dict[str, str]) -> None:
    wrong = [
        f"{column.name} is {found[name].lower()}, declared {column.type}"
        for column in contract.columns
        if (name := column.name.upper()) in found and not _holds(found[name], sql_type(column.column_type))
    ]
    wrong += [
        f"{name} is {found[name.upper()].lower()}, the loader needs {kind.lower()}"
        for name, kind in OWN_COLUMNS.items()
        if not _holds(found.get(name.upper(), kind), kind)
    ]
    if wrong:
        raise TableMismatch(
            f"{contract.schema_name}.{contract.dataset} does not fit its contract: {'; '.join(wrong)}",
            state="nothing was written; the files wait in the queue",
            next_command="change the type in the contract, or migrate the table",
        )


def _shown_type(kind: str, precision: int | None, scale: int | None, length: int | None) -> str:
    """Return a type of the information schema as `create table` spells it."""
    if kind == "NUMBER":
        return f"NUMBER({precision},{scale})"
    if kind == "TEXT":
        return "VARCHAR" if length is None or length >= _WHOLE_VARCHAR else f"VARCHAR({length})"
    return kind


def _holds(found: str, wanted: str) -> bool:
    """Tell whether a column takes every value of a type: the same one, or a longer text."""
    if not found.startswith("VARCHAR") or not wanted.startswith("VARCHAR"):
        return found == wanted

    def length(kind: str) -> int:
        return int(sized[1]) if (sized := re.search(r"\((\d+)\)", kind)) else _WHOLE_VARCHAR

    return length(found) >= length(wanted)
