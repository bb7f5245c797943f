"""Find records in a text: which line they start on and how they read. Only for explaining."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.decode import BLOCK, PlainText

MAX_TEXT = 100_000


@dataclass(frozen=True)
class Located:
    """A record: the line it starts on (the header is line 1), and its text."""

    line: int
    text: str


def locate(
    text: PlainText, contract: Contract, rows: set[int], *, longest: bool = False
) -> dict[int, Located]:
    """Return the records with these numbers (1 is the first after the header).

    Args:
        text: read from its start.
        contract: tells the quote.
        rows: record numbers wanted.
        longest: also return, as -1, the first record that is longer than a record may be.
    """
    text.take_line()
    found: dict[int, Located] = {}
    last = max(rows, default=0)
    for row, (line, record) in enumerate(_records(text, contract), start=1):
        if row in rows:
            found[row] = Located(line, record[:MAX_TEXT])
        if longest and len(record.encode()) >= BLOCK:
            found[-1] = Located(line, record[:200])
            break
        if row >= last and not longest:
            break
    return found


def _records(text: PlainText, contract: Contract) -> Iterator[tuple[int, str]]:
    """Yield (first line, text) of each record; blank lines are none."""
    quote = contract.quote if contract.multiline else None
    parts: list[str] = []
    length = quotes = start = 0
    for number, line in _lines(text):
        if not parts:
            start = number
            if not line.rstrip("\r\n"):
                continue
        parts.append(line)
        length += len(line)
        quotes += line.count(quote) if quote else 0
        # A record that is too long is cut: it is refused anyway.
        if quotes % 2 == 0 or length > BLOCK:
            yield start, "".join(parts).rstrip("\r\n")
            parts, length, quotes = [], 0, 0
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
