"""The ledger: one row per object version in `ops.csv_files`, and what it decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.staging import Staged
from lambda_csv_loader.validate import Report

Status = Literal["loaded", "quarantined", "skipped", "superseded", "missing"]
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class LedgerRow(NamedTuple):
    """One row of `ops.csv_files`; the field order is the table's."""

    file_id: str
    dataset: str
    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    sequencer: str | None
    last_modified: datetime | None
    size_bytes: int
    sha256: str | None
    compression: str | None
    header: str | None
    partition_value: str | None
    status: Status
    reason: str | None
    verdict_key: str | None
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    blank_lines: int | None
    attempts: int
    request_id: str | None
    recorded_at: datetime | None
    emitted_at: datetime | None

    @property
    def put(self) -> tuple[str, datetime]:
        """Return what identifies one upload: the version and when it was put."""
        return self.file_id, self.last_modified or LONG_AGO


@dataclass
class Candidate:
    """A file that was looked at and is to be recorded, with its rows when it is good."""

    row: LedgerRow
    staged: Staged | None = None
    force: bool = False

    @property
    def order(self) -> tuple[datetime, str]:
        """Return the place of this upload among those of other keys: the later one wins."""
        return self.row.last_modified or LONG_AGO, self.row.key

    @property
    def bytes(self) -> int:
        """Return how much memory or disk its rows take."""
        return self.staged.bytes if self.staged is not None else 0


@dataclass
class Decision:
    """What is done with a candidate.

    Attributes:
        row: as it is (to be) recorded.
        known: the ledger had it; nothing is written.
        superseded: ledger rows whose data this one replaces.
        previous: the ledger's row of the same version, which this one replaces.
        rows_stay: the rows that `previous` loaded stay as they are; only the ledger is written.
    """

    row: LedgerRow
    known: bool = False
    superseded: list[LedgerRow] = field(default_factory=list)
    previous: LedgerRow | None = None
    rows_stay: bool = False


def ledger_row(
    ref: ObjectRef,
    dataset: str,
    status: Status,
    *,
    report: Report | None = None,
    reason: str | None = None,
    verdict_key: str | None = None,
    request_id: str | None = None,
) -> LedgerRow:
    """Return the ledger row of one look at an object."""
    report = report or Report()
    staged = report.staged
    return LedgerRow(
        file_id=ref.file_id,
        dataset=dataset,
        bucket=ref.bucket,
        key=ref.key,
        version_id=ref.version_id,
        etag=ref.etag,
        sequencer=ref.sequencer,
        last_modified=ref.last_modified,
        size_bytes=ref.size,
        sha256=report.sha256 or None,
        compression=report.compression,
        header=report.header[:4000] if report.header else None,
        partition_value=staged.partition if staged else None,
        status=status,
        reason=reason,
        verdict_key=verdict_key,
        rows_read=report.rows_read,
        rows_loaded=staged.rows if staged and status == "loaded" else 0,
        rows_rejected=len(staged.rejects) if staged else report.rows_read if report.verdict else 0,
        blank_lines=report.blank_lines,
        attempts=1,
        request_id=request_id,
        recorded_at=None,
        emitted_at=None,
    )


def loaded_contents(rows: Iterable[LedgerRow]) -> frozenset[str]:
    """Return the contents (sha256) whose rows are in the warehouse, according to these ledger rows."""
    return frozenset(row.sha256 for row in rows if row.status == "loaded" and row.sha256)


def newest_uploads(rows: Iterable[LedgerRow]) -> dict[tuple[str, str | None], LedgerRow]:
    """Return ledger rows by key and ETag, all that a listing tells, the newest where several have both.

    In a versioned bucket the same bytes put twice are two versions with one ETag.
    """
    ordered = sorted(rows, key=lambda row: row.last_modified or LONG_AGO)
    return {(row.key, row.etag): row for row in ordered}


def is_settled(row: LedgerRow, last_modified: datetime | None, contents: Collection[str]) -> bool:
    """Tell whether the ledger needs nothing more for this upload of a version.

    The same bytes put again under the same key are another upload, with a later place among those of
    other keys.

    Args:
        row: of the version.
        last_modified: when this upload was put.
        contents: what `loaded_contents` says; a file that was skipped as another's copy needs loading
            itself once that one's rows are gone.
    """
    if row.status == "missing" or (last_modified or LONG_AGO) > (row.last_modified or LONG_AGO):
        return False
    return row.status != "skipped" or row.sha256 in contents


def decide(candidate: Candidate, known: list[LedgerRow], contract: Contract | None) -> Decision:
    """Decide what happens to a candidate, given the ledger inside the publishing transaction.

    Args:
        candidate: what is to be recorded.
        known: ledger rows of the dataset with the same version, key, content or partition.
        contract: of the dataset; None when it has none (the candidate is then a refused file).
    """
    row = candidate.row
    previous = next((other for other in known if other.file_id == row.file_id), None)
    if previous is not None:
        if is_settled(previous, row.last_modified, loaded_contents(known)) and not candidate.force:
            return Decision(previous, known=True)
        row = row._replace(attempts=previous.attempts + 1)
    others = [other for other in known if other.file_id != row.file_id]
    decision = _place(replace(candidate, row=row), others, contract)
    decision.previous = previous
    if previous is not None and previous.status == "loaded" and decision.row.status != "loaded":
        # Its rows are good and nothing takes their place: a second look never removes them.
        kept = f"kept, though loading it again ended {decision.row.status}: {decision.row.reason}"
        row = previous._replace(last_modified=row.last_modified, attempts=row.attempts, reason=kept)
        return Decision(row, previous=previous, rows_stay=True)
    return decision


def _place(candidate: Candidate, others: list[LedgerRow], contract: Contract | None) -> Decision:
    """Decide about a candidate among the other files of its dataset."""
    row = candidate.row
    refused = [other for other in others if other.key == row.key and other.status == "quarantined"]
    if candidate.staged is None or contract is None:
        return Decision(row, superseded=refused)
    twin = _twin(row, others, contract)
    if twin is not None:
        row = row._replace(status="skipped", reason=f"same content as {twin.key}", rows_loaded=0)
        return Decision(row, superseded=refused)
    rivals = _rivals(row, others, contract)
    for other in rivals:
        if other.key != row.key and (other.last_modified or LONG_AGO, other.key) > candidate.order:
            reason = f"{other.key} is newer and holds the same {contract.partition_by or 'table'}"
            return Decision(
                row._replace(status="superseded", reason=reason, rows_loaded=0), superseded=refused
            )
    return Decision(row, superseded=rivals + refused)


def _twin(row: LedgerRow, others: list[LedgerRow], contract: Contract) -> LedgerRow | None:
    """Return a loaded file of another key with the same content, where that makes loading needless.

    Not in mode upsert: there a later copy makes its values the newest again.
    """
    if contract.same_content == "load" or contract.mode == "upsert":
        return None
    return next(
        (
            other
            for other in others
            if other.status == "loaded" and other.sha256 == row.sha256 and other.key != row.key
        ),
        None,
    )


def _rivals(row: LedgerRow, others: list[LedgerRow], contract: Contract) -> list[LedgerRow]:
    """Return the files whose place this one takes: loaded ones, and copies that rest on those."""
    if contract.mode == "upsert":
        return []
    whole = contract.mode == "snapshot" and contract.partition_by is None
    return [
        other
        for other in others
        if other.status in ("loaded", "skipped")
        and (
            whole
            or other.key == row.key
            or (row.partition_value is not None and other.partition_value == row.partition_value)
        )
    ]


StillCurrent = Callable[[Sequence[LedgerRow]], list[str | None]]
"""Tells, for each upload, why it is not the current one of its key any more; None when it is."""


def decide_all(
    candidates: Sequence[Candidate],
    known: Sequence[LedgerRow],
    contract: Contract | None,
    still_current: StillCurrent,
) -> list[Decision]:
    """Decide about candidates that are published together.

    The oldest upload goes first, so that within the group, too, the newer one replaces the older.
    An upload is only loaded while it is the current version of its key: asked for inside the
    transaction, this is exact, however long the file took to read.
    """
    gone = _gone(candidates, known, contract, still_current)
    ledger = {row.file_id: row for row in known}
    made: dict[int, Decision] = {}
    for number in sorted(range(len(candidates)), key=lambda number: candidates[number].order):
        decision = decide(candidates[number], list(ledger.values()), contract)
        reason = gone.get(number)
        if reason and not decision.known:
            decision = _not_current(decision, reason)
        made[number] = decision
        ledger[decision.row.file_id] = decision.row
        for other in decision.superseded:
            ledger[other.file_id] = other._replace(status="superseded")
    _settle_within(list(made.values()))
    return [made[number] for number in range(len(candidates))]


def _not_current(decision: Decision, reason: str) -> Decision:
    previous = decision.previous
    if previous is not None and previous.status == "loaded":
        # The rows are there, and go when what took the file's place is loaded.
        return Decision(previous, known=True)
    row = decision.row._replace(status="superseded", reason=reason, rows_loaded=0)
    return Decision(row, previous=previous)


def _gone(
    candidates: Sequence[Candidate],
    known: Sequence[LedgerRow],
    contract: Contract | None,
    still_current: StillCurrent,
) -> dict[int, str]:
    loadable = [
        number
        for number, candidate in enumerate(candidates)
        if decide(candidate, list(known), contract).row.status == "loaded" and candidate.staged is not None
    ]
    reasons = still_current([candidates[number].row for number in loadable]) if loadable else []
    return {number: reason for number, reason in zip(loadable, reasons, strict=True) if reason}


def _settle_within(decisions: list[Decision]) -> None:
    """A file that a later one of the same group replaced is not written at all."""
    fresh = {made.row.file_id: made for made in decisions if not made.known}
    for decision in decisions:
        for other in decision.superseded:
            if other.file_id in fresh:
                earlier = fresh[other.file_id]
                reason = f"replaced by {decision.row.key}"
                earlier.row = earlier.row._replace(status="superseded", reason=reason, rows_loaded=0)
        decision.superseded = [other for other in decision.superseded if other.file_id not in fresh]
