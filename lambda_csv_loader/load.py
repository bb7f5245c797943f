"""Load objects: look at each, publish those of a dataset together, quarantine the bad ones.

Knows neither Lambda nor Prefect: the handler, the sweep and the command line all call `Loader`.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from lambda_csv_loader.contract import Contract, Contracts, NoContract
from lambda_csv_loader.errors import FloeError
from lambda_csv_loader.examine import Examiner
from lambda_csv_loader.ledger import LONG_AGO, Candidate, Decision, LedgerRow, is_settled
from lambda_csv_loader.object_store import Bucket, ObjectGone, ObjectRef
from lambda_csv_loader.settings import LoaderSettings
from lambda_csv_loader.writer import Writer, open_writer

LANDING = "landing/"
TOGETHER = 64 << 20
"""Bytes of files published in one transaction."""
_REMEMBERED = 10_000

log = logging.getLogger("floe.loader")
T = TypeVar("T")
Refs = dict[ObjectRef, ObjectRef]
"""The objects asked for, each with the version that its key holds now."""


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


class Loader:
    """Loads objects of one bucket into one warehouse. Threads may share it."""

    def __init__(
        self,
        bucket: Bucket,
        writer: Writer,
        contracts: Contracts,
        *,
        folder: Path | None = None,
        threads: int = 4,
    ) -> None:
        """Keep the parts.

        Args:
            bucket: where the files are.
            writer: of the warehouse.
            contracts: of the datasets.
            folder: for staged files; the system's temporary folder when None.
            threads: files read at the same time.
        """
        self.bucket, self.writer, self.contracts = bucket, writer, contracts
        self._examiner = Examiner(bucket, folder)
        self._threads = threads
        # Uploads settled by this process: a duplicate event then costs one HEAD and no query,
        # which on a suspended Snowflake warehouse would be a minute's bill.
        self._settled: OrderedDict[tuple[str, datetime], LoadResult] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: LoaderSettings) -> Loader:
        """Build a loader; nothing is opened yet."""
        return cls(Bucket(settings.object_store), open_writer(settings), Contracts(settings.datasets))

    def load(self, ref: ObjectRef, *, force: bool = False, request_id: str | None = None) -> LoadResult:
        """Load one object.

        Raises:
            FloeError: it could not be decided; nothing was written for it.
        """
        outcome = self.load_many([ref], force=force, request_id=request_id)[ref]
        if isinstance(outcome, FloeError):
            raise outcome
        return outcome

    def load_many(
        self, refs: Iterable[ObjectRef], *, force: bool = False, request_id: str | None = None
    ) -> Outcomes:
        """Load objects, those of a dataset in as few transactions as fit.

        Args:
            refs: which; whatever version they name, the current one is what is loaded.
            force: load again what the ledger holds as settled.
            request_id: goes into the ledger.

        Returns:
            A result or the error for each; an error touches only its own file or group.
        """
        outcomes: Outcomes = {}
        waiting: dict[str, list[ObjectRef]] = {}
        for ref in dict.fromkeys(refs):
            dataset = dataset_of(ref.key)
            if dataset is None or ref.key.endswith("/"):
                outcomes[ref] = LoadResult(ref.file_id, dataset or "", ref.key, "ignored")
            else:
                waiting.setdefault(dataset, []).append(ref)
        for dataset, members in waiting.items():
            outcomes.update(self._load_dataset(dataset, members, force, request_id))
        return outcomes

    def close(self) -> None:
        """Close the warehouse connection."""
        self.writer.close()

    def _load_dataset(
        self, dataset: str, refs: list[ObjectRef], force: bool, request_id: str | None
    ) -> Outcomes:
        contract: Contract | None
        try:
            contract = self.contracts.get(dataset)
        except NoContract:
            contract = None
        except FloeError as error:
            # A broken contract says nothing about the files: they wait until it is mended.
            return dict.fromkeys(refs, error)
        outcomes: Outcomes = {}
        current: Refs = {}
        for ref, found in zip(refs, self._each(self._current, refs), strict=True):
            if isinstance(found, FloeError):
                outcomes[ref] = found
            elif not force and (settled := self._settled.get(_put(found))):
                outcomes[ref] = replace(settled, known=True)
            else:
                current[ref] = found
        fresh = current if force else self._without_known(dataset, current, outcomes)
        for group in _groups(fresh, contract):
            outcomes.update(self._load_group(dataset, contract, group, force, request_id))
        return outcomes

    def _current(self, ref: ObjectRef) -> ObjectRef | FloeError:
        try:
            return self._examiner.current(ref)
        except FloeError as error:
            return error

    def _without_known(self, dataset: str, current: Refs, outcomes: Outcomes) -> Refs:
        """Leave out what the ledger settled already, before a byte is read."""
        if not current:
            return current
        try:
            known = self.writer.known(dataset, [found.file_id for found in current.values()])
        except FloeError as error:
            outcomes.update(dict.fromkeys(current, error))
            return {}
        fresh = {}
        for ref, found in current.items():
            row = known.get(found.file_id)
            if row is not None and is_settled(row, found.last_modified):
                outcomes[ref] = self._remember(_put(found), _result(row, known=True))
            else:
                fresh[ref] = found
        return fresh

    def _load_group(
        self, dataset: str, contract: Contract | None, group: Refs, force: bool, request_id: str | None
    ) -> Outcomes:
        def examine(found: ObjectRef) -> Candidate | FloeError:
            return self._examiner.examine(dataset, contract, found, force=force, request_id=request_id)

        outcomes: Outcomes = {}
        candidates: dict[ObjectRef, Candidate] = {}
        for ref, candidate in zip(group, self._each(examine, list(group.values())), strict=True):
            if isinstance(candidate, FloeError):
                outcomes[ref] = candidate
            else:
                candidates[ref] = candidate
        try:
            if candidates:
                outcomes.update(self._publish(dataset, contract, candidates))
        finally:
            for candidate in candidates.values():
                if candidate.staged is not None:
                    candidate.staged.close()
        return outcomes

    def _publish(
        self, dataset: str, contract: Contract | None, candidates: dict[ObjectRef, Candidate]
    ) -> Outcomes:
        try:
            decisions = self.writer.publish(
                dataset, contract, list(candidates.values()), self._why_not_current
            )
        except FloeError as error:
            return dict.fromkeys(candidates, error)
        outcomes: Outcomes = {}
        for ref, decision in zip(candidates, decisions, strict=True):
            result = _result(decision.row, known=decision.known)
            _report(result, decision)
            outcomes[ref] = self._remember(candidates[ref].row.put, result)
        return outcomes

    def _why_not_current(self, rows: Sequence[LedgerRow]) -> list[str | None]:
        def ask(row: LedgerRow) -> str | None:
            try:
                found = self.bucket.head(row.key)
            except ObjectGone:
                return "deleted before it was published"
            same = (found.etag, found.version_id) == (row.etag, row.version_id)
            return None if same else "overwritten before it was published"

        return self._each(ask, rows)

    def _each(
        self, work: Callable[[ObjectRef], T] | Callable[[LedgerRow], T], items: Sequence[object]
    ) -> list[T]:
        if len(items) == 1:
            return [work(items[0])]  # type: ignore[arg-type]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(work, items))

    def _remember(self, put: tuple[str, datetime], result: LoadResult) -> LoadResult:
        if result.status != "missing":
            self._settled[put] = result
            while len(self._settled) > _REMEMBERED:
                self._settled.popitem(last=False)
        return result


def dataset_of(key: str) -> str | None:
    """Return the dataset that a key names: `landing/<dataset>/...`; None outside `landing/`.

    A file straight under `landing/` belongs to the dataset `unknown`, which has no contract.
    """
    if not key.startswith(LANDING):
        return None
    parts = key.removeprefix(LANDING).split("/", 1)
    return parts[0] if len(parts) == 2 and parts[0] else "unknown"


def _put(ref: ObjectRef) -> tuple[str, datetime]:
    """Return what identifies one upload: the version and when it was put."""
    return ref.file_id, ref.last_modified or LONG_AGO


def _groups(refs: Refs, contract: Contract | None) -> Iterator[Refs]:
    """Cut into groups that one transaction publishes: small files together, large ones alone.

    Two events of one key end up in two groups. In mode upsert every file is alone, since each
    looks at the rows that are there.
    """
    alone = contract is not None and contract.mode == "upsert"
    group: Refs = {}
    size = 0
    for ref, found in sorted(refs.items(), key=lambda pair: (_put(pair[1])[1], pair[1].key)):
        same_key = any(other.key == found.key for other in group.values())
        if group and (alone or same_key or size + found.size > TOGETHER):
            yield group
            group, size = {}, 0
        group[ref] = found
        size += found.size
    if group:
        yield group


def _result(row: LedgerRow, *, known: bool) -> LoadResult:
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


def _report(result: LoadResult, decision: Decision) -> None:
    """Log one line: keys, counts and the rule; no values of rows."""
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
    level = logging.WARNING if result.status == "quarantined" else logging.INFO
    log.log(level, "%s %s", result.status, result.key, extra=fields)
