"""Load objects: look at each, publish those of a dataset together, quarantine the bad ones.

Knows neither Lambda nor Prefect: the handler, the sweep and the command line all call `Loader`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from lambda_csv_loader.contract import Contract, Contracts, NoContract
from lambda_csv_loader.errors import FloeError, PermanentError
from lambda_csv_loader.examine import Examiner
from lambda_csv_loader.groups import TOGETHER, Refs, dataset_of, groups
from lambda_csv_loader.ledger import LONG_AGO, Candidate, Decision, LedgerRow, is_settled, loaded_contents
from lambda_csv_loader.object_store import Bucket, ObjectGone, ObjectRef
from lambda_csv_loader.outcome import LoadResult, Outcomes, log, report, result_of, surprise
from lambda_csv_loader.settings import LoaderSettings
from lambda_csv_loader.staging import IN_MEMORY
from lambda_csv_loader.writer import TableMismatch, Writer, open_writer

_REMEMBERED = 10_000

T = TypeVar("T")
Item = TypeVar("Item")


class OtherBucket(PermanentError):
    """An event tells of another bucket than the one that is configured."""


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
        in_memory: int = IN_MEMORY,
        log_row_data: bool = False,
    ) -> None:
        """Keep the parts.

        Args:
            bucket: where the files are.
            writer: of the warehouse.
            contracts: of the datasets.
            folder: for staged files; the system's temporary folder when None.
            threads: files read at the same time.
            in_memory: rows of a file above this many bytes are staged in a Parquet file.
            log_row_data: let the log show what may hold values of rows.
        """
        self.bucket, self.writer, self.contracts = bucket, writer, contracts
        self._examiner = Examiner(bucket, folder, in_memory)
        self._threads, self._row_data = threads, log_row_data
        # Uploads settled by this process: a duplicate event then costs one HEAD and no query,
        # which on a suspended Snowflake warehouse would be a minute's bill.
        self._settled: OrderedDict[tuple[str, datetime], LoadResult] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: LoaderSettings) -> Loader:
        """Build a loader; nothing is opened yet."""
        return cls(
            Bucket(settings.object_store),
            open_writer(settings),
            Contracts(settings.datasets),
            log_row_data=settings.log_row_data,
        )

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
            if ref.bucket != self.bucket.name:
                outcomes[ref] = OtherBucket(
                    f"{ref.key!r} lies in the bucket {ref.bucket!r}, this loader reads {self.bucket.name!r}",
                    state="nothing was read; the message goes to the dead-letter queue",
                    next_command="compare FLOE_OBJECT_STORE__BUCKET with the bucket's notification",
                )
            elif dataset is None or ref.key.endswith("/"):
                outcomes[ref] = LoadResult(ref.file_id, dataset or "", ref.key, "ignored")
            else:
                waiting.setdefault(dataset, []).append(ref)
        for dataset, members in waiting.items():
            try:
                outcomes.update(self._load_dataset(dataset, members, force, request_id))
            except Exception as error:  # noqa: BLE001 - see _guarded
                failed = surprise(error, f"dataset {dataset!r} could not be loaded", row_data=self._row_data)
                outcomes.update({ref: failed for ref in members if ref not in outcomes})
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
        for ref, found in zip(refs, self._each(self._examiner.current, refs), strict=True):
            if isinstance(found, FloeError):
                outcomes[ref] = found
            elif not force and (settled := self._settled.get(_put(found))):
                outcomes[ref] = replace(settled, known=True)
            else:
                current[ref] = found
        fresh = current if force else self._without_known(dataset, current, outcomes)
        for group in groups(fresh, contract):
            outcomes.update(self._load_group(dataset, contract, group, force, request_id))
        return outcomes

    def _without_known(self, dataset: str, current: Refs, outcomes: Outcomes) -> Refs:
        """Leave out what the ledger settled already, before a byte is read."""
        if not current:
            return current
        try:
            known = self.writer.known(dataset, [found.file_id for found in current.values()])
            copies = {row.sha256 for row in known.values() if row.status == "skipped" and row.sha256}
            contents = loaded_contents(self.writer.same_content(dataset, copies) if copies else ())
        except FloeError as error:
            outcomes.update(dict.fromkeys(current, error))
            return {}
        fresh = {}
        for ref, found in current.items():
            row = known.get(found.file_id)
            if row is not None and is_settled(row, found.last_modified, contents):
                outcomes[ref] = self._remember(_put(found), result_of(row, known=True))
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
        waiting = list(group.items())
        while waiting:
            # A few at a time: small compressed files may hold far more than their size tells.
            some, waiting = waiting[: 2 * self._threads], waiting[2 * self._threads :]
            looked = self._each(examine, [found for _, found in some])
            for (ref, _), candidate in zip(some, looked, strict=True):
                if isinstance(candidate, FloeError):
                    outcomes[ref] = candidate
                else:
                    candidates[ref] = candidate
            if not waiting or sum(each.bytes for each in candidates.values()) > TOGETHER:
                outcomes.update(self._publish_and_close(dataset, contract, candidates, request_id))
                candidates = {}
        return outcomes

    def _publish_and_close(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: dict[ObjectRef, Candidate],
        request_id: str | None,
    ) -> Outcomes:
        try:
            outcomes = self._publish(dataset, contract, candidates, request_id) if candidates else {}
            if len(candidates) > 1 and any(isinstance(one, TableMismatch) for one in outcomes.values()):
                # One file's rows do not fit the table; the others must not wait for it.
                for ref, candidate in candidates.items():
                    outcomes.update(self._publish(dataset, contract, {ref: candidate}, request_id))
        finally:
            for candidate in candidates.values():
                if candidate.staged is not None:
                    candidate.staged.close()
        return outcomes

    def _publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: dict[ObjectRef, Candidate],
        request_id: str | None,
    ) -> Outcomes:
        def publish(_: None) -> list[Decision]:
            return self.writer.publish(dataset, contract, list(candidates.values()), self._why_not_current)

        decisions = self._guarded(publish, None)
        if isinstance(decisions, FloeError):
            return dict.fromkeys(candidates, decisions)
        outcomes: Outcomes = {}
        for ref, decision in zip(candidates, decisions, strict=True):
            result = result_of(decision.row, known=decision.known)
            report(result, decision, row_data=self._row_data)
            outcomes[ref] = self._remember(candidates[ref].row.put, result)
        return self._load_released(dataset, decisions, request_id) | outcomes

    def _load_released(self, dataset: str, decisions: list[Decision], request_id: str | None) -> Outcomes:
        """Load the files that were skipped as copies of one whose rows are gone now.

        Should this process end first, the sweep finds them, since they are not settled any more.
        """
        gone = loaded_contents(other for made in decisions for other in made.superseded)
        if not gone:
            return {}

        def find(_: None) -> list[LedgerRow]:
            return self.writer.same_content(dataset, gone)

        rows = self._guarded(find, None)
        if isinstance(rows, FloeError):
            log.warning("copies of replaced files wait for the sweep")
            return {}
        still_there = loaded_contents(rows)
        released = [row for row in rows if row.status == "skipped" and row.sha256 not in still_there]
        return self.load_many([ObjectRef(row.bucket, row.key) for row in released], request_id=request_id)

    def _why_not_current(self, rows: Sequence[LedgerRow]) -> list[str | None]:
        def ask(row: LedgerRow) -> str | None:
            try:
                found = self.bucket.head(row.key)
            except ObjectGone:
                return "deleted before it was published"
            same = (found.etag, found.version_id) == (row.etag, row.version_id)
            return None if same else "overwritten before it was published"

        answers = self._each(ask, rows)
        for answer in answers:
            if isinstance(answer, FloeError):
                raise answer
        return [answer for answer in answers if not isinstance(answer, FloeError)]

    def _each(self, work: Callable[[Item], T], items: Sequence[Item]) -> list[T | FloeError]:
        if len(items) == 1:
            return [self._guarded(work, items[0])]
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(lambda item: self._guarded(work, item), items))

    def _guarded(self, work: Callable[[Item], T], item: Item) -> T | FloeError:
        """Do `work`; an error is the outcome of its own file only."""
        try:
            return work(item)
        except FloeError as error:
            return error
        except Exception as error:  # noqa: BLE001 - what nobody foresaw in one file must not fail the others
            what = f"{item.key!r} could not be loaded" if isinstance(item, ObjectRef) else "publishing failed"
            return surprise(error, what, row_data=self._row_data)

    def _remember(self, put: tuple[str, datetime], result: LoadResult) -> LoadResult:
        # A copy is settled only while its twin is loaded, which another process may end.
        if result.status not in ("missing", "skipped"):
            self._settled[put] = result
            while len(self._settled) > _REMEMBERED:
                self._settled.popitem(last=False)
        return result


def _put(ref: ObjectRef) -> tuple[str, datetime]:
    """Return what identifies one upload: the version and when it was put."""
    return ref.file_id, ref.last_modified or LONG_AGO
