"""Look at one object: read it, judge it, put it aside when it is bad. Publishes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.errors import FloeError
from lambda_csv_loader.ledger import Candidate, Status, ledger_row
from lambda_csv_loader.object_store import (
    Bucket,
    ObjectGone,
    ObjectRef,
    ObjectReplaced,
    ObjectSource,
    ObjectUnreadable,
)
from lambda_csv_loader.quarantine import quarantine
from lambda_csv_loader.staging import IN_MEMORY
from lambda_csv_loader.validate import Report, validate
from lambda_csv_loader.verdict import Verdict

RESTARTS = 3


class Examiner:
    """Turns objects of a bucket into candidates for the ledger. Threads may share it."""

    def __init__(self, bucket: Bucket, folder: Path | None, in_memory: int = IN_MEMORY) -> None:
        """Keep the parts.

        Args:
            bucket: where the objects are.
            folder: for staged files; the system's temporary folder when None.
            in_memory: rows above this many bytes are staged in a file.
        """
        self._bucket, self._folder, self._in_memory = bucket, folder, in_memory

    def current(self, ref: ObjectRef) -> ObjectRef:
        """Return the version that the key holds now: only that one is ever loaded.

        An event that comes late, twice or out of order thus always leads to the newest version.
        A key that holds nothing any more is returned as it came.

        Raises:
            StoreUnavailable: try again.
        """
        try:
            return replace(self._bucket.head(ref.key), sequencer=ref.sequencer)
        except ObjectGone:
            return ref

    def examine(
        self,
        dataset: str,
        contract: Contract | None,
        ref: ObjectRef,
        *,
        force: bool = False,
        request_id: str | None = None,
    ) -> Candidate | FloeError:
        """Read and judge one object, from the start again when it is overwritten meanwhile.

        Returns:
            What is to be recorded, or the error that kept it from being judged.
        """
        error: FloeError | None = None
        for _ in range(RESTARTS):
            try:
                report, verdict_key, status, reason = self._judge(dataset, contract, ref)
            except ObjectReplaced as replaced:
                error = replaced
                try:
                    ref = self.current(ref)
                except FloeError as failed:
                    return failed
                continue
            except FloeError as failed:
                return failed
            row = ledger_row(
                ref,
                dataset,
                status,
                report=report,
                reason=reason,
                verdict_key=verdict_key,
                request_id=request_id,
            )
            return Candidate(row, report.staged if report else None, force)
        assert error is not None  # noqa: S101 - the loop ended by its last `continue`
        return error

    def _judge(
        self, dataset: str, contract: Contract | None, ref: ObjectRef
    ) -> tuple[Report | None, str | None, Status, str | None]:
        """Return what was found, the verdict's key, the status and its reason."""
        report: Report | None = None
        verdict: Verdict | None
        if ref.etag is None:
            return None, None, "missing", "deleted before it was read"
        try:
            if contract is None:
                verdict = Verdict.of("no_contract", f"no contract for dataset {dataset!r}")
            else:
                source = ObjectSource(self._bucket, ref)
                report = validate(
                    source,
                    contract,
                    ref.file_id,
                    folder=self._folder,
                    size=ref.size,
                    in_memory=self._in_memory,
                )
                verdict = report.verdict
        except ObjectGone:
            return None, None, "missing", "deleted before it was read"
        except ObjectUnreadable as error:
            verdict = Verdict.of("unreadable", error.what)
        if verdict is None:
            return report, None, "loaded", None
        key = quarantine(self._bucket, ref, dataset, contract, verdict)
        return report, key, "quarantined", f"{verdict.rule}: {verdict.message}"
