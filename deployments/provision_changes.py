"""What is to be done on an Airbyte server, or was."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from deployments.connection import ConnectionDeclaration

Kind = Literal["workspace", "source", "destination", "connection", "stream"]
Action = Literal["create", "update", "delete", "none"]


@dataclass(frozen=True)
class Change:
    """What is to be done to one resource of the server.

    Attributes:
        kind: of resource.
        name: of the resource.
        action: "none" when it is as declared, or not declared and left alone.
        details: for updates, "field: old → new", secrets left out.
        note: what a reader should know of it.
    """

    kind: Kind
    name: str
    action: Action
    details: tuple[str, ...] = ()
    note: str = ""


@dataclass
class Provisioned:
    """What `apply` did.

    Attributes:
        changes: in the order in which they were made.
        connection_ids: Airbyte's id of each declared connection, by its source.
    """

    changes: list[Change] = field(default_factory=list)
    connection_ids: dict[str, str] = field(default_factory=dict)


def described(declaration: ConnectionDeclaration) -> str:
    """Return whose connection it is and how fresh it is to be."""
    return f"{declaration.owner}, fresh within {in_words(declaration.fresh_within)}"


def in_words(length: timedelta) -> str:
    """Return a length of time as declarations spell it."""
    seconds = round(length.total_seconds())
    for unit, size in {"d": 86_400, "h": 3_600, "m": 60}.items():
        if seconds >= size and seconds % size == 0 and (unit != "d" or seconds > size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
