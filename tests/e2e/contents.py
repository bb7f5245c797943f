"""What is declared to be replicated, and what a table holds, in a form that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import yaml

from tests.e2e.conftest import ROOT, Stack

CONNECTIONS = {
    file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / "deployments/connections").glob("*.yaml")
}
STREAMS = [
    (source, stream["name"]) for source, spec in sorted(CONNECTIONS.items()) for stream in spec["streams"]
]


def checksum(rows: Iterable[tuple[Any, ...]]) -> tuple[int, int]:
    """Return row count and an order-independent checksum over all columns."""
    count = total = 0
    for row in rows:
        text = "\x1f".join(canonical(value) for value in row)
        total += int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
        count += 1
    return count, total


def canonical(value: object) -> str:
    """Return one text for a value, whichever driver it came through."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return "\x00" if value is None else str(value)


def mart_contents(stack: Stack) -> dict[str, tuple[int, int]]:
    """Return count and checksum of every published mart."""
    names = stack.query("select view_name from duckdb_views() where schema_name = 'marts'")
    assert names
    return {name: checksum(stack.query(f"select * from marts.{name}")) for (name,) in names}
