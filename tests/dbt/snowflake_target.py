"""The dbt project's `snowflake` target on the emulator: raw tables, builds, rows, the SQL sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from dbt_stages import PROJECT, DbtProject, Outcome, Stage
from snowflake.connector import SnowflakeConnection
from snowflake_stack import PASSPHRASE

DATABASE = "FLOE"
RAW = "raw_"
_COMMENT = re.compile(r'\s*/\* (\{"app": "dbt".*?\}) \*/')
# What only asks: for the relations, for their columns, for the types of a query.
_ASKS = re.compile(r"\s*(show|describe)\b|.*\blimit 0\s*$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class SnowflakeTarget:
    """The `snowflake` target of the dbt project on an emulator.

    Args:
        project: runs dbt, in a folder of its own.
        connection: to the emulator.
        port: of the emulator.
        key: private key, as PEM.
        statements: the file to which the emulator writes what it is sent.
    """

    project: DbtProject
    connection: SnowflakeConnection
    port: int
    key: str
    statements: Path

    def load_raw(self, stage: Stage) -> None:
        """Make the raw tables what they are at a stage of the lake, by PUT and COPY as the loader does."""
        tables = stage.query(
            "select table_schema, table_name from information_schema.tables"
            f" where table_catalog = 'lake' and table_schema like '{RAW}%'"
        )
        for schema, table in tables:
            file = self.project.folder / f"{schema}.{table}.parquet"
            stage.connection.execute(f"copy {schema}.{table} to '{file}' (format parquet)")
            columns = ", ".join(map(_column, pq.read_schema(file)))
            self._execute(f"create schema if not exists {schema}")
            self._execute(f"create or replace stage {schema}.load")
            self._execute(f"create or replace table {schema}.{table} ({columns})")
            self._execute(f"put file://{file} @{schema}.load/{table}/{stage.version} auto_compress=false")
            [(_, status, parsed, loaded, *_)] = self._execute(
                f"copy into {schema}.{table} from @{schema}.load/{table}/{stage.version}"
                " file_format = (type = parquet) match_by_column_name = case_insensitive"
            )
            assert (status, parsed) == ("LOADED", loaded), (schema, table)
            assert [(loaded,)] == stage.query(f"select count(*) from {schema}.{table}"), (schema, table)

    def run(self, *arguments: str) -> tuple[Outcome, dict[str, str]]:
        """Run a dbt command; return how it ended and, by node, the SQL it sent that does something."""
        before = self.statements.stat().st_size
        profile = yaml.safe_load((PROJECT / "profiles.yml").read_text())
        # dbt gives nodes to threads as these become free: with one thread the order is always the same.
        here = {"host": "127.0.0.1", "port": self.port, "protocol": "http", "threads": 1}
        profile["floe"]["outputs"]["snowflake"].update(here)
        (self.project.folder / "profiles.yml").write_text(yaml.safe_dump(profile))
        outcome = self.project.run(
            *arguments,
            DBT_PROFILES_DIR=str(self.project.folder),
            FLOE_DBT_TARGET="snowflake",
            SNOWFLAKE_ACCOUNT="fakesnow",
            SNOWFLAKE_USER="FLOE_DBT",
            SNOWFLAKE_PRIVATE_KEY=self.key,
            SNOWFLAKE_PRIVATE_KEY_PASSPHRASE=PASSPHRASE,
            SNOWFLAKE_DATABASE=DATABASE,
        )
        with self.statements.open() as lines:
            lines.seek(before)
            return outcome, _sent(map(json.loads, lines))

    def rows(self, relation: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows of a relation as text, sorted: the emulator gives null timestamps as 1970."""
        return sorted(self._execute(as_text(relation, columns)), key=repr)

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())


def as_text(relation: str, columns: Sequence[str]) -> str:
    """Return the query for the rows of a relation, each value as text."""
    return f"select {', '.join(f'cast({column} as varchar)' for column in columns)} from {relation}"


def _sent(statements: Iterator[str]) -> dict[str, str]:
    """Return the statements of each model and snapshot that do something, without what differs by run."""
    sent: dict[str, list[str]] = {}
    for statement in statements:
        said = _COMMENT.search(statement)
        node = json.loads(said[1]).get("node_id", "") if said else ""
        sql = _COMMENT.sub("", statement).strip().rstrip(";")
        if node.startswith(("model.", "snapshot.")) and not _ASKS.match(sql):
            lines = (line.rstrip() for line in sql.splitlines())
            sent.setdefault(node.split(".")[2], []).append("\n".join(line for line in lines if line))
    return {name: ";\n\n".join(each) + ";\n" for name, each in sent.items()}


def _column(field: pa.Field) -> str:
    """Return the column as Airbyte and the loader make it on Snowflake."""
    if field.name == "_airbyte_meta":
        return f"{field.name} variant"
    kind = str(field.type)
    if pa.types.is_decimal(field.type):
        return f"{field.name} number({field.type.precision}, {field.type.scale})"
    if pa.types.is_timestamp(field.type):
        return f"{field.name} {'timestamp_tz' if field.type.tz else 'timestamp_ntz'}"
    return f"{field.name} {_TYPES[kind]}"


_TYPES = {
    "int64": "number(38, 0)",
    "int32": "number(38, 0)",
    "string": "varchar",
    "date32[day]": "date",
    "bool": "boolean",
}
