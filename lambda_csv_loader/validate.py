"""Validate a CSV file against its contract, in a stream and bounded memory, and stage its rows.

pyarrow splits records; every value stays text until a rule has seen it, since pyarrow's own
conversion takes more than a contract allows. Rows come out typed, with `_file_id` and `_file_row`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from lambda_csv_loader.contract import MEGABYTE, Column, Contract
from lambda_csv_loader.decode import BLOCK, PlainText, Source
from lambda_csv_loader.header import match_header
from lambda_csv_loader.keys import KeyOrder, duplicate_rows
from lambda_csv_loader.quotes import QuoteScanner, ScannedText
from lambda_csv_loader.ragged import RaggedRows, spans_lines, unclosed
from lambda_csv_loader.records import Located, line_at, locate
from lambda_csv_loader.rules import check_column
from lambda_csv_loader.staging import IN_MEMORY, Stage, Staged
from lambda_csv_loader.verdict import MAX_EXAMPLES, BadFile, Findings, Reject, Verdict, Violation

# Arrow's own pool keeps what blocks of slightly different sizes leave: a tenth more memory after 50M rows.
pa.set_memory_pool(pa.system_memory_pool())

T = TypeVar("T")


@dataclass
class Report:
    """What reading a file showed, whether it is good or bad.

    Attributes:
        staged: the rows; None when the file is refused.
        verdict: why it is refused; None when it is good.
    """

    staged: Staged | None = None
    verdict: Verdict | None = None
    sha256: str = ""
    stored_bytes: int = 0
    plain_bytes: int = 0
    compression: str | None = None
    header: str | None = None
    rows_read: int = 0
    blank_lines: int | None = None


def validate(
    source: Source,
    contract: Contract,
    file_id: str,
    *,
    folder: Path | None = None,
    size: int | None = None,
    block: int = BLOCK,
    in_memory: int = IN_MEMORY,
) -> Report:
    """Read a file and decide whether its rows may be published.

    Args:
        source: the object; read once when the file is good, twice when lines have to be found.
        contract: of its dataset.
        file_id: goes into every row.
        folder: for the Parquet file of a large one; the system's temporary folder when None.
        size: of the stored object, where it is known: one that is too large is then not read at all.
        block: bytes that are parsed at a time; a record must fit.
        in_memory: rows above this many bytes are staged in a Parquet file.
    """
    stage = Stage(contract, file_id, folder, in_memory)
    return _Validation(source, contract, folder, block).run(stage, size)


class _Validation:
    def __init__(self, source: Source, contract: Contract, folder: Path | None, block: int) -> None:
        self._source, self._contract, self._folder, self._block = source, contract, folder, block
        self._findings = Findings(contract.reject_threshold)
        self._ragged = RaggedRows(max(contract.reject_threshold, MAX_EXAMPLES) + 1)
        self._quotes = QuoteScanner(contract)
        self._next_row = 1
        self._partitions: set[Any] = set()
        self._order = KeyOrder([contract.names.index(name) for name in contract.primary_key])
        self._report = Report()

    def run(self, stage: Stage, size: int | None) -> Report:
        text = PlainText(self._source, self._contract, size)
        report = self._report
        try:
            try:
                self._read(text, stage)
                report.staged = staged = stage.finish()
                self._check_keys(staged)
                self._check_whole(staged)
                self._leave_out_rejects(staged)
            except BadFile as error:
                self._discard(stage)
                report.verdict = self._verdict(self._explained(error.violation))
            if report.verdict is None or report.verdict.rule != "too_large":
                report.sha256 = text.stored.sha256(self._contract.max_megabytes * MEGABYTE)
        except BaseException:
            self._discard(stage)
            raise
        finally:
            text.close()
        report.stored_bytes, report.plain_bytes = text.stored.bytes, text.bytes
        report.compression, report.rows_read = text.compression, self._next_row - 1
        if not self._contract.multiline and report.verdict is None:
            # Every record is one line, so what is left over is blank (or the header).
            report.blank_lines = max(text.lines() - 1 - report.rows_read, 0)
        if report.verdict is not None:
            report.verdict.rows_read = report.rows_read
        return report

    def _discard(self, stage: Stage) -> None:
        stage.discard()
        if self._report.staged is not None:
            self._report.staged.close()
            self._report.staged = None

    def _read(self, text: PlainText, stage: Stage) -> None:
        self._report.header = line = text.take_line().decode()
        names = match_header(line, self._contract)
        with closing(self._batches(text, names)) as batches:
            for batch in batches:
                self._add(batch, stage)
        self._quotes.feed(b"", last=True)
        self._note_ragged()

    def _batches(self, text: PlainText, names: list[str | None]) -> Generator[pa.RecordBatch]:
        contract = self._contract
        # Columns the contract ignores get a name that no contract can have.
        labels = [name if name is not None else f"\0{number}" for number, name in enumerate(names)]
        lent = ScannedText(text, self._quotes)
        try:
            reader = pa_csv.open_csv(
                lent,
                # One thread: rows are numbered for the verdict only then, and it is no slower.
                read_options=pa_csv.ReadOptions(
                    use_threads=False, block_size=self._block, column_names=labels
                ),
                parse_options=pa_csv.ParseOptions(
                    delimiter=contract.delimiter,
                    quote_char=contract.quote or False,
                    escape_char=contract.escape or False,
                    newlines_in_values=contract.multiline,
                    invalid_row_handler=self._ragged.skip,
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(labels, pa.string()),
                    include_columns=contract.names,
                    null_values=list(contract.null_tokens),
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
            yield from _one_ahead(reader)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" not in str(error):
                raise self._unreadable(str(error)) from None
        finally:
            lent.take_back()

    def _unreadable(self, message: str) -> BadFile:
        if "straddling object" in message:
            return BadFile(
                "long_record", f"a record is longer than {self._block} bytes, or a quote is never closed"
            )
        return BadFile("unreadable", message)

    def _add(self, batch: pa.RecordBatch, stage: Stage) -> None:
        rows = self._row_numbers(batch.num_rows)
        self._note_ragged(self._next_row - 1)
        typed, bad = [], np.zeros(batch.num_rows, dtype=bool)
        for column, texts in zip(self._contract.columns, batch.columns, strict=True):
            values, violations = check_column(column, texts, self._contract)
            typed.append(values)
            for violation in violations:
                self._note(column, violation.rule, violation.message, violation.rows, texts, rows, bad)
        if self._findings.rows > self._contract.reject_threshold:
            return
        keep = None if not bad.any() else pa.array(~bad)
        if keep is not None:
            rows = rows[~bad]
            texts = [array.filter(keep) for array in batch.columns]
            typed = [
                check_column(column, array, self._contract)[0]
                for column, array in zip(self._contract.columns, texts, strict=True)
            ]
        self._note_partition(typed)
        self._order.add(typed)
        stage.add(typed, rows)

    def _note(
        self, column: Column, rule: str, message: str, at: Any, texts: pa.Array, rows: Any, bad: Any
    ) -> None:
        for number, index in enumerate(at.tolist()):
            violation = Violation(
                rule=rule,
                message=message,
                column=column.name,
                row=int(rows[index]),
                value=texts[index].as_py(),
            )
            if not column.column_type.is_text and spans_lines(violation.value):
                raise unclosed(violation.row)
            self._findings.add(violation, new_row=not bad[index])
            bad[index] = True
            if number > 1000 and self._findings.rows > self._contract.reject_threshold:
                # Examples and rows are settled: the rest is only counted.
                rest = at[number + 1 :]
                self._findings.add_count(violation, len(rest))
                self._findings.rows += int((~bad[rest]).sum())
                bad[rest] = True
                return

    def _row_numbers(self, count: int) -> Any:
        skipped = self._ragged.pending()
        rows = np.arange(self._next_row, self._next_row + count + len(skipped), dtype=np.int64)
        if len(skipped):
            # Some of them stand in the next block: what is left over here is theirs.
            rows = np.setdiff1d(rows, skipped, assume_unique=True)[:count]
        if count:
            self._next_row = int(rows[-1]) + 1
        return rows

    def _note_ragged(self, until: int | None = None) -> None:
        """Note the ragged rows up to a number: the parser is a block ahead of the rows it returned."""
        pending = self._ragged.pending()
        if until is None and len(pending):
            self._next_row = max(self._next_row, int(pending[-1]) + 1)
        found, rest = self._ragged.take(until)
        for violation in found:
            self._findings.add(violation, new_row=True)
        for rule, count in rest.items():
            self._findings.add_count(Violation(rule=rule, message=""), count)
            self._findings.rows += count

    def _note_partition(self, typed: list[pa.Array]) -> None:
        contract = self._contract
        if contract.partition_by and len(self._partitions) < 3:
            values = typed[contract.names.index(contract.partition_by)]
            self._partitions.update(value for value in values.unique().to_pylist())

    def _check_keys(self, staged: Staged) -> None:
        key = self._contract.primary_key
        settled = self._order.ascending or staged.rows < 2
        if not key or settled or self._findings.rows > self._contract.reject_threshold:
            return
        duplicates = duplicate_rows(staged, key, self._contract.reject_threshold + 1, folder=self._folder)
        for row, value in duplicates.rows:
            message = f"the key ({', '.join(key)}) = {value} is in the file already"
            self._findings.add(Violation(rule="unique", message=message, row=row, value=value), new_row=True)
        if duplicates.count > len(duplicates.rows):
            rest = duplicates.count - len(duplicates.rows)
            self._findings.add_count(Violation(rule="unique", message=""), rest)
            self._findings.rows += rest

    def _check_whole(self, staged: Staged) -> None:
        contract, findings = self._contract, self._findings
        if findings.rows > contract.reject_threshold:
            first = min(findings.examples, key=lambda found: found.row or 0)
            where = f"column {first.column}: " if first.column else ""
            allowed = f", {contract.reject_threshold} allowed" if contract.reject_threshold else ""
            message = f"{findings.rows} bad rows{allowed}; first: {where}{first.message}"
            raise BadFile(first.rule, message, row=first.row, column=first.column, value=first.value)
        if contract.mode == "snapshot" and staged.rows == 0 and not contract.allow_empty:
            raise BadFile("no_rows", "a header and no rows: an empty snapshot would delete what is there")
        if contract.partition_by and len(self._partitions) > 1:
            shown = ", ".join(str(value) for value in sorted(self._partitions)[:3])
            raise BadFile(
                "one_partition",
                f"a snapshot file holds one value of {contract.partition_by}, this one has {shown} ...",
                column=contract.partition_by,
            )
        staged.partition = str(next(iter(self._partitions))) if self._partitions else None

    def _leave_out_rejects(self, staged: Staged) -> None:
        first = self._findings.first
        if not first:
            return
        located = self._locate(set(first))
        staged.rejects = [
            Reject(
                line=located[row].line if row in located else None,
                row=row,
                column=found.column,
                rule=found.rule,
                message=found.message,
                raw_line=located[row].text if row in located else "",
            )
            for row, found in sorted(first.items())
        ]
        twice = [row for row, found in first.items() if found.rule == "unique"]
        if twice:
            staged.drop_rows(twice)

    def _explained(self, violation: Violation) -> Violation:
        """Add line numbers, which only a second reading can tell."""
        if self._quotes.fault is not None:
            violation.line = self._look_again(lambda text: line_at(text, self._quotes.fault or 0), None)
        wanted = {found.row for found in (violation, *self._findings.examples) if found.row is not None}
        longest = violation.rule == "long_record"
        if wanted or longest:
            located = self._locate(wanted, longest=longest)
            for found in (violation, *self._findings.examples):
                if found.row in located:
                    found.line = located[found.row].line
            if longest and -1 in located:
                violation.line = located[-1].line
        return violation

    def _locate(self, rows: set[int], *, longest: bool = False) -> dict[int, Located]:
        nothing: dict[int, Located] = {}
        return self._look_again(
            lambda text: locate(text, self._contract, rows, longest=self._block if longest else None), nothing
        )

    def _look_again(self, look: Callable[[PlainText], T], otherwise: T) -> T:
        text = PlainText(self._source, self._contract)
        try:
            return look(text)
        except BadFile:
            return otherwise
        finally:
            text.close()

    def _verdict(self, violation: Violation) -> Verdict:
        findings = self._findings
        counts = dict(findings.counts) or {violation.rule: 1}
        where = f"line {violation.line}: " if violation.line is not None else ""
        return Verdict(
            rule=violation.rule,
            message=where + violation.message,
            examples=findings.examples or [violation],
            counts=counts,
            rows_rejected=findings.rows,
        )


def _one_ahead(batches: Iterable[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
    """Let another thread make the next batch while the one before it is looked at."""
    rest = iter(batches)
    with ThreadPoolExecutor(1, thread_name_prefix="parse") as parser:
        ahead = parser.submit(next, rest, None)
        while (batch := ahead.result()) is not None:
            ahead = parser.submit(next, rest, None)
            yield batch
