"""One warehouse connection that serialises its users, retries conflicts and sorts errors for them."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lambda_csv_loader.writer import WarehouseUnavailable

T = TypeVar("T")
ATTEMPTS = 12


class Conflict(Exception):
    """Another transaction came first: the same work may succeed when it is done again."""


class RetryingSession(ABC):
    """A connection, opened when first needed and again after it broke. Threads may share it."""

    errors: ClassVar[type[Exception]]
    """What the warehouse's driver raises."""

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
            retry=retry_if_exception_type(Conflict),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=3),
            reraise=True,
        )
        try:
            return attempts(lambda: self._once(work))
        except Conflict:
            raise WarehouseUnavailable(
                f"Other transactions came first {ATTEMPTS} times",
                state="nothing was written; it is tried again",
            ) from None

    @property
    def is_open(self) -> bool:
        """Tell whether there is a connection that did not break so far."""
        return self._connection is not None

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
            except self.errors as error:
                # Before anything else: what is open would go on holding its lock.
                self._roll_back()
                raise self._sorted(error) from None
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._connection is not None:
            try:
                self._end_transaction()
            except self.errors:
                # No transaction is open: the error came before `begin`, or it ended the transaction.
                return

    @abstractmethod
    def _end_transaction(self) -> None:
        """Roll back what is open."""

    @abstractmethod
    def _sorted(self, error: Any) -> Exception:
        """Return what an error of the driver means: a `Conflict` or one of Floe's own."""

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self.prepared.clear()
        if connection is not None:
            connection.close()
