"""Find records in a text: which line they start on and how they read. Only for explaining."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.decode import BLOCK, PlainText
from lambda_csv_loader.quotes import QuoteScanner

MAX_TEXT = 100_000


@dataclass(frozen=True)
class Located:
    """A record: the line it starts on (the header is line 1), and its text."""

    line: int
    text: str


def locate(
    text: PlainText, contract: Contract, rows: set[int], *, longest: int | None = None
) -> dict[int, Located]:
    """Return the records with these numbers (1 is the first after the header).

    Args:
        text: read from its start.
        contract: tells how quotes are written.
        rows: record numbers wanted.
        longest: also return, as -1, the first record that has at least so many bytes.
    """
    text.take_line()
    found: dict[int, Located] = {}
    last = max(rows, default=0)
    for row, (line, record) in enumerate(_records(text, contract), start=1):
        if row in rows:
            found[row] = Located(line, record[:MAX_TEXT])
        if longest is not None and len(record.encode()) >= longest:
            found[-1] = Located(line, record[:200])
            break
        if row >= last and longest is None:
            break
    return found


def line_at(text: PlainText, offset: int) -> int:
    """Return the line that the byte `offset` after the header stands on."""
    text.take_line()
    line, after_cr = 2, False
    while offset > 0 and (piece := text.read(min(offset, BLOCK))):
        offset -= len(piece)
        line += piece.count(b"\n") + piece.count(b"\r") - piece.count(b"\r\n")
        line -= after_cr and piece.startswith(b"\n")
        after_cr = piece.endswith(b"\r")
    return line


def _records(text: PlainText, contract: Contract) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) of each record; blank lines are none."""
    parts: list[str] = []
    length = start = 0
    quotes = QuoteScanner(contract, lenient=True)
    for number, line in _lines(text):
        if not parts:
            start = number
            if not line.rstrip("\r\n"):
                continue
        parts.append(line)
        length += len(line)
        # A record that is too long is cut: it is refused anyway.
        if not contract.multiline or not quotes.goes_on_after(line) or length > BLOCK:
            yield start, "".join(parts).rstrip("\r\n")
            parts, length = [], 0
            quotes = QuoteScanner(contract, lenient=True) if quotes.inside else quotes
    if parts:
        yield start, "".join(parts).rstrip("\r\n")


def _lines(text: PlainText) -> Iterator[tuple[int, str]]:
    # newline="" splits at LF, CR and CRLF alike and keeps them.
    reader = io.TextIOWrapper(io.BufferedReader(text), encoding="utf-8", newline="")
    number = 2
    while line := reader.readline(BLOCK + 1):
        yield number, line
        if line.endswith(("\n", "\r")):
            number += 1
    reader.detach()
