"""Which objects belong together: the dataset a key names, and what one transaction publishes."""

from __future__ import annotations

from collections.abc import Iterator

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ledger import LONG_AGO
from lambda_csv_loader.object_store import ObjectRef

LANDING = "landing/"
TOGETHER = 64 << 20
"""Bytes, stored and staged, that one transaction publishes; a larger file goes alone."""
Refs = dict[ObjectRef, ObjectRef]
"""The objects asked for, each with the version that its key holds now."""


def dataset_of(key: str) -> str | None:
    """Return the dataset that a key names: `landing/<dataset>/...`; None outside `landing/`.

    A file straight under `landing/` belongs to the dataset `unknown`, which has no contract.
    """
    if not key.startswith(LANDING):
        return None
    parts = key.removeprefix(LANDING).split("/", 1)
    return parts[0] if len(parts) == 2 and parts[0] else "unknown"


def groups(refs: Refs, contract: Contract | None) -> Iterator[Refs]:
    """Cut into groups that one transaction publishes: small files together, large ones alone.

    Two events of one key end up in two groups. In mode upsert every file is alone, since each
    looks at the rows that are there.
    """
    alone = contract is not None and contract.mode == "upsert"
    group: Refs = {}
    size = 0
    for ref, found in sorted(refs.items(), key=lambda pair: _order(pair[1])):
        same_key = any(other.key == found.key for other in group.values())
        if group and (alone or same_key or size + found.size > TOGETHER):
            yield group
            group, size = {}, 0
        group[ref] = found
        size += found.size
    if group:
        yield group


def _order(ref: ObjectRef) -> tuple[object, str]:
    return ref.last_modified or LONG_AGO, ref.key
