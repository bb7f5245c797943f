"""`floe sql`: a read-only shell on the warehouse.

Each statement reads a snapshot of its own, so an open shell neither blocks the pipeline nor sees
half of a publication.
"""

from __future__ import annotations

import readline  # noqa: F401 - gives input() its line editing and history
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from blocks.errors import ConfigurationError
from blocks.settings import load_settings
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.writer import WarehouseUnavailable

ROWS_SHOWN = 200
GREETING = (
    "Read-only. Schemas: marts, snapshots, staging, raw_*, ops. End a statement with ; and leave with Ctrl-D."
)


def shell(command: str | None, console: Console) -> int:
    """Run `command`, or read statements from the terminal until its end.

    Args:
        command: one or more statements; None opens the shell.
        console: where results go.

    Returns:
        The exit code: 1 when `command` failed.

    Raises:
        ConfigurationError: the warehouse is not DuckLake; Snowflake has shells of its own.
        WarehouseUnavailable: it does not answer.
    """
    settings = load_settings().warehouse
    if not isinstance(settings, DuckLakeSettings):
        raise ConfigurationError(
            "floe sql opens DuckLake only: with Floe's own role in Snowflake it would not be read-only",
            next_command="snow sql, or a worksheet, with a role that reads the schemas marts and ops",
        )
    connection = _opened(settings)
    try:
        if command is not None:
            return 0 if _run(connection, command, console) else 1
        console.print(GREETING, markup=False)
        while (statement := _read()) is not None:
            _run(connection, statement, console)
        return 0
    finally:
        connection.close()


def _opened(settings: DuckLakeSettings) -> duckdb.DuckDBPyConnection:
    try:
        return connect(settings, read_only=True)
    except duckdb.IOException as error:
        why = str(error).splitlines()[0].rpartition(": ")[2]
        raise WarehouseUnavailable(
            f"The warehouse's catalog at {settings.host}:{settings.port} does not answer: {why}",
            state="nothing was read",
            next_command="floe status",
        ) from None


def _read() -> str | None:
    lines: list[str] = []
    while not lines or not lines[-1].rstrip().endswith(";"):
        try:
            line = input("floe> " if not lines else "  ... ")
        except EOFError:
            return None
        except KeyboardInterrupt:
            lines = []
            continue
        if line.strip() or lines:
            lines.append(line)
    return "\n".join(lines)


def _run(connection: duckdb.DuckDBPyConnection, statement: str, console: Console) -> bool:
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchmany(ROWS_SHOWN + 1) if cursor.description else []
    except duckdb.Error as error:
        console.print(str(error), style="red", markup=False)
        return False
    except KeyboardInterrupt:
        connection.interrupt()
        return False
    if cursor.description:
        console.print(_table([column[0] for column in cursor.description], rows[:ROWS_SHOWN]))
        if len(rows) > ROWS_SHOWN:
            console.print(f"... the first {ROWS_SHOWN} rows; add a limit to see others")
    return True


def _table(columns: list[str], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(box=None, header_style="bold")
    for index, column in enumerate(columns):
        number = all(isinstance(row[index], int | float) for row in rows) and bool(rows)
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*("null" if value is None else str(value) for value in row))
    return table
