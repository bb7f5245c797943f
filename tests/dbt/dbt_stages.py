"""Run the dbt project against a lake of its own, and look at any stage of it for ever after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from lambda_csv_loader.ducklake import DuckLakeSettings, connect, sql_string

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
SERVER = Path(__file__).with_name("dbt_server.py")


@dataclass(frozen=True)
class Outcome:
    """How a dbt command ended."""

    returncode: int
    output: str
    statuses: dict[str, str]
    messages: dict[str, str]

    def named(self, *statuses: str) -> set[str]:
        """Return the names of the nodes that ended with one of `statuses`."""
        return {node.split(".")[2] for node, status in self.statuses.items() if status in statuses}


class DbtServer:
    """A process that has imported dbt and runs each command in a fork of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> int:
        """Run a command, its output going to a file, and return its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = {"arguments": arguments, "environment": dict(environment), "output": str(output)}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass(frozen=True)
class DbtProject:
    """The dbt project, run against one lake, writing below one folder."""

    dbt: DbtServer
    lake: DuckLakeSettings
    folder: Path

    def run(self, *arguments: str, **variables: str) -> Outcome:
        """Run a dbt command and return how it ended, with the nodes of its results file."""
        target = self.folder / variables.get("FLOE_DBT_TARGET", "local")
        results = target / "run_results.json"
        results.unlink(missing_ok=True)
        output = self.folder / "output"
        code = self.dbt.run(
            arguments,
            {
                **os.environ,
                "DBT_PROJECT_DIR": str(PROJECT),
                "DBT_PROFILES_DIR": str(PROJECT),
                "DBT_TARGET_PATH": str(target),
                "DBT_LOG_PATH": str(self.folder / "logs"),
                "FLOE_DUCKLAKE_CATALOG": self.lake.catalog_uri(),
                "FLOE_DUCKLAKE_DATA_PATH": f"{self.lake.data_path}/",
                "FLOE_DUCKDB_EXTENSIONS": str(self.lake.extension_directory),
                **variables,
            },
            output,
        )
        nodes = json.loads(results.read_text())["results"] if results.exists() else []
        return Outcome(
            code,
            output.read_text(),
            {node["unique_id"]: node["status"] for node in nodes},
            {node["unique_id"]: node["message"] or "" for node in nodes},
        )

    def build(self, *arguments: str, **variables: str) -> Stage:
        """Run `dbt build` and return the lake as it is then."""
        outcome = self.run("build", *arguments, **variables)
        with connect(self.lake) as connection:
            version = connection.execute("select id from lake.current_snapshot()").fetchone()
        assert version is not None
        return Stage(self.lake, int(version[0]), outcome)

    def change(self, *statements: str) -> None:
        """Change the raw layer, as a sync or a load would, in one transaction."""
        with connect(self.lake) as connection:
            connection.execute("begin")
            for statement in statements:
                connection.execute(statement)
            connection.execute("commit")

    def manifest(self, target: str = "local") -> dict[str, Any]:
        """Return the manifest of the last run against a target."""
        return dict(json.loads((self.folder / target / "manifest.json").read_text()))


@dataclass(frozen=True)
class Stage:
    """A version of the lake after a build; later stages do not change what it shows."""

    lake: DuckLakeSettings
    version: int
    outcome: Outcome

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The lake, read-only, as it was at this stage."""
        connection = duckdb.connect(config={"extension_directory": str(self.lake.extension_directory)})
        files = sql_string(f"{self.lake.data_path}/")
        connection.execute("load ducklake; load postgres_scanner")
        connection.execute(
            f"attach {sql_string(self.lake.catalog_uri())} as lake"
            f" (data_path {files}, read_only, snapshot_version {self.version})"
        )
        connection.execute("use lake; set TimeZone = 'UTC'")
        return connection

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(sql).fetchall()

    def changes(self, table: str, since: Stage, column: str = "null") -> dict[tuple[str, Any], int]:
        """Count the row changes of a table after an earlier stage, by kind of change and by `column`.

        Source: https://ducklake.select/docs/stable/duckdb/advanced_features/data_change_feed
        """
        schema, name = table.split(".")
        rows = self.query(
            f"select change_type, {column}, count(*) from ducklake_table_changes("
            f"'lake', '{schema}', '{name}', {since.version + 1}, {self.version}) group by all"
        )
        return {(kind, value): count for kind, value, count in rows}

    def contents(self, *schemas: str) -> dict[str, tuple[int, str | None]]:
        """Return, per table of `schemas`, the number of rows and a checksum over all values."""
        names = ", ".join(sql_string(schema) for schema in schemas)
        tables = self.query(
            "select table_schema || '.' || table_name from information_schema.tables"
            f" where table_catalog = 'lake' and table_type = 'BASE TABLE' and table_schema in ({names})"
        )
        return {
            name: self.query(f"select count(*), sum(hash(t)::hugeint)::varchar from {name} as t")[0]
            for (name,) in tables
        }
