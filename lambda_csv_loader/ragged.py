"""Rows with too few or too many values, as the parser's thread hands them over: blocks ahead."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from typing import Any

import numpy as np

from lambda_csv_loader.verdict import BadFile, Violation


class RaggedRows:
    """Collects them; of all but the first few only the number and the rule, so that memory is bounded."""

    def __init__(self, keep: int) -> None:
        """Start with none.

        Args:
            keep: how many to keep with their text.
        """
        self._keep = keep
        self._lock = threading.Lock()
        self._numbers = array("q")
        self._rules: list[str] = []
        self._kept: dict[int, Violation] = {}

    def skip(self, row: Any) -> str:
        """Take one row from pyarrow, and tell it to go on."""
        rule = "short_row" if row.actual_columns < row.expected_columns else "long_row"
        with self._lock:
            self._numbers.append(row.number)
            self._rules.append(rule)
            if self._keep > 0:
                self._keep -= 1
                message = f"{row.actual_columns} values where the header has {row.expected_columns}"
                self._kept[row.number] = Violation(rule=rule, message=message, row=row.number, value=row.text)
        return "skip"

    def pending(self) -> Any:
        """Return the numbers of the rows that `take` has not returned, ascending."""
        with self._lock:
            return np.array(self._numbers, dtype=np.int64)

    def take(self, until: int | None = None) -> tuple[list[Violation], Counter[str]]:
        """Return the rows up to the number `until`, or all: those kept, and how often a rule the rest broke.

        Raises:
            BadFile: a row holds a line end: more likely a quote that was never closed.
        """
        pending = self.pending()
        count = len(pending) if until is None else int(np.searchsorted(pending, until, side="right"))
        with self._lock:
            taken = [*zip(self._numbers[:count], self._rules[:count], strict=True)]
            del self._numbers[:count], self._rules[:count]
        found, rest = [], Counter[str]()
        for number, rule in taken:
            violation = self._kept.pop(number, None)
            if violation is None:
                rest[rule] += 1
                continue
            if spans_lines(violation.value):
                raise unclosed(violation.row)
            found.append(violation)
        return found, rest


def spans_lines(value: str | None) -> bool:
    """Tell whether a value holds a line end."""
    return value is not None and ("\n" in value or "\r" in value)


def unclosed(row: int | None) -> BadFile:
    """Return the verdict on a record that swallowed lines where only a text may."""
    return BadFile("unclosed_quote", "a quote is opened and closed on another line, not in a text", row=row)
