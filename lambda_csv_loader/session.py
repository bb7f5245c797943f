"""One DuckLake connection that serialises, retries conflicts and sorts errors for its user."""

from __future__ import annotations

from typing import Any

import duckdb

from lambda_csv_loader.retrying import Conflict, RetryingSession
from lambda_csv_loader.writer import TableMismatch, WarehouseUnavailable

# How DuckLake says that another transaction came first.
_CONFLICTS = ("Transaction conflict", "Failed to commit DuckLake", "write-write conflict", "already exists")


class Session(RetryingSession):
    """A DuckDB connection with the lake attached."""

    errors = duckdb.Error

    def execute(self, statement: str) -> Any:
        """Run one statement; only inside `run`."""
        return self._connection.execute(statement)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a query and return its rows; only inside `run`."""
        found: list[tuple[Any, ...]] = self._connection.execute(statement).fetchall()
        return found

    def lend(self, name: str, table: Any) -> None:
        """Let statements see an Arrow table under `name`."""
        self._connection.register(name, table)

    def take_back(self, name: str) -> None:
        """End what `lend` did."""
        self._connection.unregister(name)

    def _end_transaction(self) -> None:
        self._connection.execute("rollback")

    def _sorted(self, error: duckdb.Error) -> Exception:
        text = str(error)
        if any(known in text for known in _CONFLICTS):
            return Conflict()
        name = type(error).__name__
        if isinstance(error, (duckdb.ConstraintException, duckdb.ConversionException)):
            # Its text may show values of rows.
            return TableMismatch(
                f"The table refuses rows that the contract allows: {name}",
                state="nothing was written; the files wait in the queue",
                next_command="compare the table's columns with the contract",
            )
        self._drop()
        return WarehouseUnavailable(
            f"The warehouse failed: {name}: {text.splitlines()[0][:300] if text else ''}",
            state="nothing was written; it is tried again",
            next_command="floe status",
        )
