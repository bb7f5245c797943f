"""What a publication reads and changes, whatever the warehouse: plain values, no SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ledger import Candidate, Decision, LedgerRow

Load = tuple[Candidate, Decision]
AnyOf = dict[str, list[str]]
"""Rows that hold one of these values in one of these columns; none when empty."""


class LedgerChanges(NamedTuple):
    """What becomes of the ledger: `outdated` versions move to the history, `rows` are added."""

    outdated: list[str]
    rows: list[LedgerRow]


def related(candidates: Sequence[Candidate], contract: Contract | None) -> AnyOf | None:
    """Tell which ledger rows of the dataset have a say in these candidates; None for all of them."""
    rows = [candidate.row for candidate in candidates]
    found = {"file_id": _distinct(row.file_id for row in rows), "key": _distinct(row.key for row in rows)}
    if contract is not None and any(candidate.staged for candidate in candidates):
        found["sha256"] = _distinct(row.sha256 for row in rows)
        if contract.mode == "snapshot":
            if contract.partition_by is None:
                return None
            found["partition_value"] = _distinct(row.partition_value for row in rows)
    return found


def replaced(contract: Contract, made: Sequence[Decision]) -> AnyOf | None:
    """Tell which rows of the table these loads replace; None for all of them."""
    if contract.mode == "snapshot" and contract.partition_by is None:
        return None
    files = [other.file_id for decision in made for other in decision.superseded]
    files += [decision.row.file_id for decision in made if decision.previous is not None]
    found = {"_file_id": _distinct(files)}
    if contract.partition_by is not None:
        found[contract.partition_by] = _distinct(decision.row.partition_value for decision in made)
    return {name: values for name, values in found.items() if values}


def ledger_changes(made: Sequence[Decision]) -> LedgerChanges:
    """Return what becomes of the ledger when these are published."""
    replaced_rows = {other.file_id: other for decision in made for other in decision.superseded}
    previous = [decision.previous.file_id for decision in made if decision.previous is not None]
    newer = {other.file_id: decision.row.key for decision in made for other in decision.superseded}
    rows = [decision.row for decision in made] + [
        other._replace(status="superseded", reason=f"replaced by {newer[other.file_id]}", emitted_at=None)
        for other in replaced_rows.values()
    ]
    return LedgerChanges(_distinct([*replaced_rows, *previous]), rows)


def to_load(fresh: Sequence[Load]) -> list[Load]:
    """Return those whose rows are to be written; those of a file that stays as it was loaded are not."""
    return [pair for pair in fresh if pair[1].row.status == "loaded" and not pair[1].rows_stay]


def read_again(fresh: Sequence[Load]) -> list[str]:
    """Return the versions whose rejects of an earlier look are forgotten."""
    return [made.row.file_id for _, made in fresh if made.previous is not None and not made.rows_stay]


def reject_rows(dataset: str, fresh: Sequence[Load]) -> list[tuple[Any, ...]]:
    """Return the rows that loaded files lost, as `ops.csv_rejects` holds them, without the time."""
    return [
        (made.row.file_id, dataset, one.line, one.row, one.column, one.rule, one.message, one.raw_line)
        for candidate, made in to_load(fresh)
        if candidate.staged
        for one in candidate.staged.rejects
    ]


def _distinct(values: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(value for value in values if value is not None))
