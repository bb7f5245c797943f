"""The files of a dataset: those in the bucket against the ledger, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Literal

from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks.errors import PermanentError
from blocks.object_store import LandingBucket
from lambda_csv_loader.groups import LANDING
from lambda_csv_loader.ledger import LedgerRow, is_settled, loaded_contents, newest_uploads
from lambda_csv_loader.object_store import ObjectRef

SWEEP = "sweep:"
SHOWN = 100
"""Files listed in the table, those that need somebody first, then the newest."""
Again = Literal["nothing", "refused", "everything"]
_AGAIN: dict[Again, tuple[str, ...]] = {
    "nothing": (),
    "refused": ("quarantined",),
    "everything": ("quarantined", "loaded"),
}


class BadPrefix(PermanentError):
    """A prefix lies outside the dataset's own folder."""


class QuarantinedFile(BaseModel):
    """A file that was refused: where it was, why, and where the verdict is."""

    key: str
    file_id: str
    reason: str
    verdict_key: str | None


class IngestResult(BaseModel):
    """The state of a dataset's files after the run.

    Attributes:
        files: in the bucket under the prefix.
        loaded: of those, with their rows in the warehouse.
        loaded_by_events: of the loaded, by the event of their upload.
        loaded_by_sweep: of the loaded, by a run of this flow.
        newly_loaded: loaded since this run began.
        skipped: same content as another file.
        superseded: replaced by a newer file or version.
        rows: in the warehouse, from the loaded files.
        quarantined: refused, with their verdicts.
    """

    dataset: str
    files: int
    loaded: int
    loaded_by_events: int
    loaded_by_sweep: int
    newly_loaded: int
    skipped: int
    superseded: int
    rows: int
    quarantined: list[QuarantinedFile]


class DatasetFiles:
    """The files of a dataset that a run is about.

    Args:
        landing: the bucket, and the ledger.
        dataset: whose files.
        prefix: only keys that begin so; all of the dataset's when left out.
        since: only files uploaded on this day (UTC) or later.
        until: only files uploaded on this day (UTC) or earlier.
        again: what is wanted again although the ledger settles it.

    Raises:
        NoContract: the dataset is not declared.
        BadPrefix: the prefix reaches beyond the dataset.
    """

    def __init__(
        self,
        landing: LandingBucket,
        dataset: str,
        prefix: str | None,
        since: date | None,
        until: date | None,
        again: Again,
    ) -> None:
        landing.loader().contracts.get(dataset)
        self._landing, self._dataset = landing, dataset
        self._again = _AGAIN[again]
        self._looked_again: set[str] = set()
        self.request_id = f"{SWEEP}{flow_run.get_id() or ''}"
        self._refs = [ref for ref in landing.files(_prefix(dataset, prefix)) if _within(ref, since, until)]
        self._rows: dict[tuple[str, str | None], LedgerRow] = {}
        self._contents: frozenset[str] = frozenset()
        self.read_ledger()

    def read_ledger(self) -> None:
        """Look again at what the ledger says."""
        # All of the dataset's: a copy under this prefix may rest on a file under another.
        rows = self._landing.loader().writer.ledger(self._dataset)
        self._rows, self._contents = newest_uploads(rows), loaded_contents(rows)

    @property
    def total(self) -> int:
        """Return how many files there are."""
        return len(self._refs)

    @property
    def pending(self) -> list[ObjectRef]:
        """Return the files that the ledger does not settle."""
        return [ref for ref in self._refs if not self._is_settled(ref)]

    @property
    def pending_again(self) -> list[ObjectRef]:
        """Return those of them that the ledger has settled, and that are asked for nevertheless."""
        return [ref for ref in self.pending if self._is_known(ref)]

    def looked_again(self, refs: Iterable[ObjectRef]) -> None:
        """Note that files were loaded again, however that ended."""
        self._looked_again.update(ref.key for ref in refs)

    @property
    def settled(self) -> int:
        """Return how many files need nothing more."""
        return self.total - len(self.pending)

    def count(self, status: str) -> int:
        """Return how many files have this status."""
        return sum(row.status == status for row in self._current())

    def result(self, loaded_before: int) -> IngestResult:
        """Return the state of all files."""
        rows = list(self._current())
        counts = Counter(row.status for row in rows)
        loaded = [row for row in rows if row.status == "loaded"]
        swept = sum((row.request_id or "").startswith(SWEEP) for row in loaded)
        return IngestResult(
            dataset=self._dataset,
            files=self.total,
            loaded=len(loaded),
            loaded_by_events=len(loaded) - swept,
            loaded_by_sweep=swept,
            newly_loaded=len(loaded) - loaded_before,
            skipped=counts["skipped"],
            superseded=counts["superseded"],
            rows=sum(row.rows_loaded for row in loaded),
            quarantined=[
                QuarantinedFile(
                    key=row.key, file_id=row.file_id, reason=row.reason or "", verdict_key=row.verdict_key
                )
                for row in rows
                if row.status == "quarantined"
            ],
        )

    def shown(self) -> list[dict[str, object]]:
        """Return the most interesting files for a table: open and refused ones, then the newest."""
        listed = []
        for ref in self._refs:
            row = self._rows.get((ref.key, ref.etag))
            status = row.status if row is not None and self._is_settled(ref) else "waiting"
            calm = status not in ("waiting", "quarantined")
            age = -(ref.last_modified.timestamp() if ref.last_modified else 0)
            listed.append((calm, age, ref.key, status, row.rows_loaded if row and calm else 0))
        return [
            {"file": key, "status": status, "rows": rows} for *_, key, status, rows in sorted(listed)[:SHOWN]
        ]

    def _is_settled(self, ref: ObjectRef) -> bool:
        return self._is_known(ref) and not self._is_wanted_again(ref)

    def _is_known(self, ref: ObjectRef) -> bool:
        row = self._rows.get((ref.key, ref.etag))
        return row is not None and is_settled(row, ref.last_modified, self._contents)

    def _is_wanted_again(self, ref: ObjectRef) -> bool:
        row = self._rows[ref.key, ref.etag]
        # What this run has loaded before it was interrupted carries its name.
        done = row.request_id == self.request_id or ref.key in self._looked_again
        return row.status in self._again and not done

    def _current(self) -> Iterator[LedgerRow]:
        for ref in self._refs:
            row = self._rows.get((ref.key, ref.etag))
            if row is not None:
                yield row


def _prefix(dataset: str, prefix: str | None) -> str:
    own = f"{LANDING}{dataset}/"
    # Without the slash, `landing/stock` would take the files of `stock_2`, too.
    if prefix is not None and not prefix.startswith(own):
        raise BadPrefix(
            f"the prefix {prefix!r} does not begin with {own!r}",
            state="nothing was read",
            next_command=f"give a prefix under {own}, or none",
        )
    return prefix or own


def _within(ref: ObjectRef, since: date | None, until: date | None) -> bool:
    if ref.last_modified is None:
        return True
    day = ref.last_modified.date()
    return (since is None or since <= day) and (until is None or day <= until)
