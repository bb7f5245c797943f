"""What became of an object, and one log line about it."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass

from lambda_csv_loader.errors import FloeError, TransientError
from lambda_csv_loader.ledger import Decision, LedgerRow
from lambda_csv_loader.object_store import ObjectRef

log = logging.getLogger("floe.loader")


class Surprise(TransientError):
    """Something failed that has no name here; it is tried again, then waits in the dead-letter queue."""


@dataclass(frozen=True)
class LoadResult:
    """What became of one object.

    Attributes:
        status: as in the ledger; `ignored` for what is no file (a folder marker).
        known: the ledger had it already; nothing was done.
    """

    file_id: str
    dataset: str
    key: str
    status: str
    rows: int = 0
    rejected: int = 0
    reason: str | None = None
    verdict_key: str | None = None
    known: bool = False


Outcomes = dict[ObjectRef, LoadResult | FloeError]


def surprise(error: Exception, what: str, *, row_data: bool) -> Surprise:
    """Return what is reported of an error that nobody foresaw, and log where it came from.

    Its text is only logged where `row_data` allows it, since it may show values of rows.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    name = type(error).__name__ + (f" {error.errno}: {error.strerror}" if isinstance(error, OSError) else "")
    fields = {"text": str(error)} if row_data else {}
    place = frame.filename.rsplit("/", 1)[-1]
    log.error("%s in %s, line %s: %s", name, place, frame.lineno, what, extra=fields)
    return Surprise(
        f"{what}: {name}",
        state="nothing was written for it; it is tried again",
        next_command="floe files status",
    )


def result_of(row: LedgerRow, *, known: bool) -> LoadResult:
    """Return what a ledger row says."""
    return LoadResult(
        row.file_id,
        row.dataset,
        row.key,
        row.status,
        rows=row.rows_loaded,
        rejected=row.rows_rejected,
        reason=row.reason,
        verdict_key=row.verdict_key,
        known=known,
    )


def report(result: LoadResult, decision: Decision, *, row_data: bool) -> None:
    """Log one line: keys, counts and the rule; values of rows only where `row_data` allows it."""
    fields = {
        "file_id": result.file_id,
        "dataset": result.dataset,
        "key": result.key,
        "status": result.status,
        "known": result.known,
        "rows": result.rows,
        "rule": (result.reason or "").split(":", 1)[0] if result.status == "quarantined" else None,
        "replaces": [other.key for other in decision.superseded],
    }
    if row_data:
        fields["reason"] = result.reason
    level = logging.WARNING if result.status == "quarantined" else logging.INFO
    log.log(level, "%s %s", result.status, result.key, extra=fields)
