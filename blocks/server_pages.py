"""Lists of the Prefect server, which gives a page of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from uuid import UUID

PAGE = 200


class Identified(Protocol):
    """Anything that the server keeps under an id."""

    id: UUID


T = TypeVar("T", bound=Identified)


def all_pages(read: Callable[..., list[T]], **wanted: Any) -> list[T]:
    """Return everything that one of the client's list methods finds, each once.

    What is made meanwhile moves others to the next page, where they are seen again.

    Args:
        read: the method; it takes `limit` and `offset`.
        wanted: its other arguments.
    """
    found: dict[UUID, T] = {}
    offset = 0
    while True:
        page = read(**wanted, limit=PAGE, offset=offset)
        found |= {one.id: one for one in page}
        offset += len(page)
        if len(page) < PAGE:
            return list(found.values())
