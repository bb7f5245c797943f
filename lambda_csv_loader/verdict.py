"""What was found wrong with a file: machine-readable, stored beside the quarantined copy."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import BaseModel, Field

MAX_EXAMPLES = 20
MAX_VALUE_CHARACTERS = 200


class Violation(BaseModel):
    """One broken rule.

    `line` counts the file's lines from 1 with the header; `row` counts its records from 1 without.
    """

    rule: str
    message: str
    line: int | None = None
    row: int | None = None
    column: str | None = None
    value: str | None = None


class Reject(BaseModel):
    """A row that was left out, with its own text."""

    line: int | None
    row: int
    column: str | None
    rule: str
    message: str
    raw_line: str


class Verdict(BaseModel):
    """Why a file was refused."""

    rule: str = Field(description="the first rule broken")
    message: str
    examples: list[Violation] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict, description="violations per `column.rule`")
    rows_read: int | None = None
    rows_rejected: int | None = None
    file: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, rule: str, message: str) -> Verdict:
        """Return the verdict on a file that broke one rule as a whole."""
        return cls(
            rule=rule, message=message, examples=[Violation(rule=rule, message=message)], counts={rule: 1}
        )


class BadFile(Exception):
    """The file as a whole is refused. Never leaves the loader: it becomes a verdict."""

    def __init__(self, rule: str, message: str, **where: Any) -> None:
        super().__init__(message)
        self.violation = Violation(rule=rule, message=message, **where)


class Findings:
    """Violations of rows: all counted, the first few kept, all refused rows known by number."""

    def __init__(self, keep_rows: int) -> None:
        """Create an empty collection.

        Args:
            keep_rows: how many refused rows to keep with their violation (the reject threshold).
        """
        self.counts: Counter[str] = Counter()
        self.examples: list[Violation] = []
        self.rows = 0
        self.first: dict[int, Violation] = {}
        self._keep = max(keep_rows, MAX_EXAMPLES)

    def add(self, violation: Violation, *, new_row: bool) -> None:
        """Record a violation; `new_row` says that its row had none so far."""
        if violation.value is not None:
            violation.value = violation.value[:MAX_VALUE_CHARACTERS]
        self.counts[f"{violation.column}.{violation.rule}" if violation.column else violation.rule] += 1
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(violation)
        if new_row:
            self.rows += 1
            if violation.row is not None and len(self.first) < self._keep:
                self.first[violation.row] = violation

    def add_count(self, violation: Violation, times: int) -> None:
        """Record a violation that `times` more rows have; only the count is kept."""
        self.counts[f"{violation.column}.{violation.rule}" if violation.column else violation.rule] += times
