"""Quotes: whatever a text looks like, it is read as it stands or refused, and never something else."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.quotes import QuoteScanner
from lambda_csv_loader.validate import Report, validate
from lambda_csv_loader.verdict import BadFile


@dataclass
class Bytes:
    body: bytes
    name: str = "f.csv"

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.body)


def contract(**more: object) -> Contract:
    columns = [{"name": "a", "type": "varchar"}, {"name": "b", "type": "varchar"}]
    return Contract.model_validate(
        {"dataset": "d", "owner": "o", "mode": "append", "columns": columns, **more}
    )


def numbers(**more: object) -> Contract:
    columns = [{"name": "a", "type": "bigint"}, {"name": "b", "type": "bigint"}]
    return contract(columns=columns, **more)


def read(text: str, rules: Contract, block: int = 1 << 20) -> Report:
    return validate(Bytes(text.encode()), rules, "id", block=block)


def rows(report: Report) -> list[list[str]]:
    assert report.staged is not None and report.staged.table is not None
    return [[row["a"] or "", row["b"] or ""] for row in report.staged.table.to_pylist()]


texts = st.text(st.sampled_from('"",\n\rax'), max_size=25)


@settings(max_examples=400, deadline=None)
@given(text=texts, multiline=st.booleans())
def test_a_text_is_read_as_python_reads_it_or_refused(text: str, multiline: bool) -> None:
    report = read("a,b\n" + text, contract(multiline=multiline))
    try:
        expected = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        assert report.verdict is not None
        return
    over_lines = any("\n" in cell or "\r" in cell for row in expected for cell in row)
    if any(len(row) != 2 for row in expected) or (over_lines and not multiline):
        assert report.verdict is not None
    else:
        assert report.verdict is None, report.verdict
        assert rows(report) == expected


def is_refused(pieces: list[bytes], rules: Contract) -> bool:
    scanner = QuoteScanner(rules)
    try:
        for piece in pieces:
            scanner.feed(piece)
        scanner.feed(b"", last=True)
    except BadFile:
        return True
    return False


@settings(max_examples=400, deadline=None)
@given(
    text=st.text(st.sampled_from('"",\n\\ax'), max_size=25),
    cuts=st.lists(st.integers(0, 25), max_size=4),
    escape=st.sampled_from([None, "\\"]),
    multiline=st.booleans(),
)
def test_where_a_text_is_cut_makes_no_difference(
    text: str, cuts: list[int], escape: str | None, multiline: bool
) -> None:
    body, rules = text.encode(), contract(escape=escape, multiline=multiline)
    bounds = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(bounds)]
    one_by_one = is_refused([bytes([byte]) for byte in body], rules)
    assert is_refused(pieces, rules) is is_refused([body], rules) is one_by_one


@pytest.mark.parametrize(
    ("text", "rules", "rule", "line"),
    [
        ('1,"a\n2,b\n3,c\n', contract(), "unclosed_quote", 2),
        ('1,"a\n2,b\n3,c\n', contract(multiline=True), "unclosed_quote", 2),
        ('1,b\r\n2,"a"b\n', contract(), "stray_quote", 3),
        ('1,"2\n3,4"\n5,6\n', contract(), "unclosed_quote", 2),
        ('0,0\n1,"2\n3,4\n5,6\n', numbers(reject_threshold=3), "unclosed_quote", 3),
        ('0,0\n1,"2\n3,4"\n5,6\n', numbers(reject_threshold=3), "unclosed_quote", 3),
        ("0,0\n1,2\\\n3,4\n", contract(escape="\\"), "unclosed_quote", 3),
        ('"x\ny",0\n1,"2', contract(multiline=True), "unclosed_quote", 4),
    ],
)
def test_a_quote_that_swallows_rows_is_refused_on_its_line(
    text: str, rules: Contract, rule: str, line: int
) -> None:
    verdict = read("a,b\n" + text, rules).verdict
    assert verdict is not None
    assert (verdict.rule, verdict.examples[0].line) == (rule, line)


@pytest.mark.parametrize("header", ['a,"b', '"a,b', 'a,"b"c'])
def test_a_quote_in_the_header_is_closed(header: str) -> None:
    verdict = read(f"{header}\n1,2\n", contract()).verdict
    assert verdict is not None
    assert (verdict.rule, verdict.examples[0].line) == ("header", 1)


def test_quotes_swallow_no_number_even_where_a_text_may_have_lines() -> None:
    columns = [{"name": "a", "type": "varchar"}, {"name": "b", "type": "bigint"}]
    rules = contract(columns=columns, multiline=True, reject_threshold=5)
    verdict = read('a,b\nx,"1\ny,2"\nz,3\n', rules).verdict
    assert verdict is not None
    assert (verdict.rule, verdict.examples[0].row) == ("unclosed_quote", 1)


def test_rejects_are_found_where_quotes_are_characters_or_escaped() -> None:
    rules = contract(
        columns=[{"name": "a", "type": "varchar"}, {"name": "b", "type": "bigint"}],
        multiline=True,
        escape="\\",
        reject_threshold=5,
    )
    report = read('a,b\n5" pipe,1\n"say \\"hi",2\n"two\nlines",3\nlast,x\n', rules)
    assert report.staged is not None
    (reject,) = report.staged.rejects
    assert (reject.line, reject.row, reject.raw_line) == (6, 4, "last,x")


def test_rows_keep_their_number_over_many_blocks_with_short_rows_between() -> None:
    rules = numbers(reject_threshold=4)
    short = {40, 41, 119, 200}
    lines = [f"{number}" if number in short else f"{number},{number}" for number in range(1, 201)]
    report = read("a,b\n" + "\n".join(lines), rules, block=64)
    assert report.verdict is None, report.verdict
    assert report.staged is not None and report.staged.table is not None
    assert report.rows_read == 200
    assert report.staged.table["a"].to_pylist() == report.staged.table["_file_row"].to_pylist()
    assert report.staged.rows == 196
    assert [(one.row, one.line, one.raw_line) for one in report.staged.rejects] == [
        (number, number + 1, str(number)) for number in sorted(short)
    ]


def test_all_rows_are_counted_when_more_are_short_than_are_kept() -> None:
    report = read("a,b\n" + "1\n" * 500 + "x,2\n" * 3, numbers(), block=64)
    assert report.verdict is not None
    assert (report.rows_read, report.verdict.counts) == (503, {"short_row": 500, "a.type": 3})
    assert report.verdict.rows_rejected == 503
