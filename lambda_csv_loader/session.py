"""One DuckLake connection that serialises, retries conflicts and sorts errors for its user."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import duckdb
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lambda_csv_loader.writer import TableMismatch, WarehouseUnavailable

T = TypeVar("T")
ATTEMPTS = 12
# How DuckLake says that another transaction came first.
_CONFLICTS = ("Transaction conflict", "Failed to commit DuckLake", "write-write conflict", "already exists")


class _Conflict(Exception):
    """Another transaction came first."""


class Session:
    """A connection, opened when first needed and again after it broke. Threads may share it."""

    def __init__(self, open_connection: Callable[[], Any]) -> None:
        self._open = open_connection
        self._connection: Any = None
        # One transaction at a time in this process: threads would only conflict with each other.
        self._lock = threading.Lock()
        self.prepared: set[str] = set()

    def run(self, work: Callable[[], T]) -> T:
        """Do `work`, again when another transaction came first.

        Raises:
            WarehouseUnavailable: the warehouse failed, or conflicts did not end.
            TableMismatch: the warehouse refuses rows that the contract allows.
        """
        # Publishers in many processes: the loser of a round goes again, ever more spread out.
        attempts = Retrying(
            retry=retry_if_exception_type(_Conflict),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=3),
            reraise=True,
        )
        try:
            return attempts(lambda: self._once(work))
        except _Conflict:
            raise WarehouseUnavailable(
                f"Other transactions came first {ATTEMPTS} times",
                state="nothing was written; it is tried again",
            ) from None

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

    def close(self) -> None:
        """Close the connection; the next `run` opens another."""
        with self._lock:
            self._drop()

    def _once(self, work: Callable[[], T]) -> T:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._open()
                return work()
            except duckdb.Error as error:
                self._roll_back()
                raise self._sorted(error) from None
            except BaseException:
                self._roll_back()
                raise

    def _sorted(self, error: duckdb.Error) -> Exception:
        text = str(error)
        if any(known in text for known in _CONFLICTS):
            return _Conflict()
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

    def _roll_back(self) -> None:
        if self._connection is not None:
            try:
                self._connection.execute("rollback")
            except duckdb.Error:
                # No transaction is open: the error came before `begin`, or it ended the transaction.
                return

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self.prepared.clear()
        if connection is not None:
            connection.close()
