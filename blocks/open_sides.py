"""The two databases of a reconciliation, opened when first needed and anew after one of them broke."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import TracebackType
from typing import Self

from blocks import reconciliations
from blocks.errors import TransientError
from blocks.reconcile import Sides, dialect_of
from blocks.source_database import SourceDatabase
from blocks.warehouse import Warehouse


class OpenSides:
    """Lends both sides to one stream after the other.

    Args:
        name: of the source.
        source: its database.
        warehouse: where it is replicated to.
    """

    def __init__(self, name: str, source: SourceDatabase, warehouse: Warehouse) -> None:
        self._name, self._source, self._warehouse = name, source, warehouse
        self._open = ExitStack()
        self._sides: Sides | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @contextmanager
    def lent(self) -> Iterator[Sides]:
        """Lend both; after a transient failure the next borrower gets new connections.

        Raises:
            ServiceUnavailable: the source does not answer.
            WarehouseUnavailable: the warehouse does not.
        """
        if self._sides is None:
            self._sides = self._connected()
        try:
            yield self._sides
        except TransientError:
            self._close()
            raise

    def _connected(self) -> Sides:
        with ExitStack() as opening:
            source = opening.enter_context(closing(self._source.connect()))
            cursor = opening.enter_context(self._warehouse.connect())
            reconciliations.prepare(cursor)
            self._open = opening.pop_all()
        return Sides(self._name, source, cursor, dialect_of(self._warehouse.dbt_target()))

    def _close(self) -> None:
        self._sides = None
        self._open.close()
