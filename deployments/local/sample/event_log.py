"""The event log: what the simulator did, row by row, as JSON Lines.

It is the independent truth that history and marts are tested against: replaying it over the
generated state gives exactly the present state. It is also the simulator's write-ahead log: a day
is written and synced to disk, closed by a line of its own, before any database commits it.

One line per changed row:

    {"operation": "update", "at": "2003-01-02T09:12:41.000512+00:00", "day": "2003-01-02",
     "kind": "email_change", "source": "crm", "table": "customer", "key": {"c_customer_sk": 7},
     "before": {...}, "after": {...}}

`before` and `after` hold the changed columns of an update, all columns of an inserted (`before` is
null) or deleted (`after` is null) row, always with `updated_at` where the table has one. Money and dates
are strings. Rows of one business transaction share `at`. Two more sorts of line have `operation` "land"
(a file: `key`, `rows`, `sha256`) and "end_of_day" (`seed`, `scale`).

Kinds: new_customer, move (a new address row, and the customer pointed to it), address_change (the
address row overwritten), email_change, price_change (a new version of the item), price_correction,
new_order, unknown_customer (an order of nobody known), late_sale (sold days ago, entered today),
return, correction (of an earlier sale line), new_week (the stock file); and where deletions are asked
for, customer_deleted, sale_line_deleted. Where rare events are asked for, also buyer_deleted,
return_after_deletion, late_change (its transaction began at `at`, days before `day`, and was committed on
`day`: a sync may have read later changes by then), promotion_change, new_promotion, promotion_deleted,
other_promotion (a sale line is put down to another one).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

Operation = Literal["insert", "update", "delete"]
Value = str | int | None
Row = Mapping[str, Value]

END_OF_DAY: Final = '{"operation":"end_of_day"'


def json_value(value: object) -> Value:
    """Return a database value as the log writes it: exact decimals, ISO dates, UTC times.

    Raises:
        TypeError: a type that the sample does not have.
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"the sample has no column of type {type(value).__name__}")


@dataclass(frozen=True)
class RowChange:
    """One changed row; see the module for the meaning of the fields."""

    operation: Operation
    at: datetime
    kind: str
    source: str
    table: str
    key: Mapping[str, int]
    before: Row | None
    after: Row | None


@dataclass(frozen=True)
class FileLanded:
    """One file that came into the bucket: its key, data rows and the SHA-256 of its bytes."""

    at: datetime
    kind: str
    key: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class PlayedDay:
    """Everything that happened on one business day, in the order of business time."""

    day: date
    seed: int
    scale: float
    changes: Sequence[RowChange]
    files: Sequence[FileLanded]

    def lines(self) -> Iterator[str]:
        """Yield the day's lines, closed by its `end_of_day` line."""
        day = self.day.isoformat()
        for file in self.files:
            yield _line({"operation": "land", "at": json_value(file.at), "day": day, "kind": file.kind,
                         "key": file.key, "rows": file.rows, "sha256": file.sha256})  # fmt: skip
        for change in self.changes:
            yield _line({"operation": change.operation, "at": json_value(change.at), "day": day,
                         "kind": change.kind, "source": change.source, "table": change.table,
                         "key": change.key, "before": change.before, "after": change.after})  # fmt: skip
        yield _line({"operation": "end_of_day", "day": day, "seed": self.seed, "scale": self.scale})


class EventLog:
    """The log file of one sample company.

    Args:
        path: the file; its folder is created when needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, day: PlayedDay) -> None:
        """Write a whole day and wait until it is on the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write("".join(day.lines()).encode())
            file.flush()
            os.fsync(file.fileno())

    def last_day(self) -> PlayedDay | None:
        """Return the last whole day, and cut off a day that was being written when the writer died.

        No database has committed anything of a day without its closing line.
        """
        if not self.path.exists():
            return None
        start = end = position = 0
        with self.path.open("r+b") as file:
            for line in file:
                position += len(line)
                if line.startswith(END_OF_DAY.encode()) and line.endswith(b"\n"):
                    start, end = end, position
            if end < position:
                file.truncate(end)
            file.seek(start)
            lines = file.read(end - start).decode().rstrip("\n").split("\n")
        return _day(lines) if end else None


def read_log(path: Path) -> Iterator[RowChange | FileLanded]:
    """Yield every changed row and landed file of the log, in order."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith(END_OF_DAY):
                yield _event(json.loads(line))


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n"


def _event(event: dict[str, Any]) -> RowChange | FileLanded:
    del event["day"]
    event["at"] = datetime.fromisoformat(event["at"])
    if event["operation"] == "land":
        del event["operation"]
        return FileLanded(**event)
    return RowChange(**event)


def _day(lines: Sequence[str]) -> PlayedDay:
    *events, closing = (json.loads(line) for line in lines)
    read = [_event(event) for event in events]
    return PlayedDay(
        day=date.fromisoformat(closing["day"]),
        seed=closing["seed"],
        scale=closing["scale"],
        changes=[event for event in read if isinstance(event, RowChange)],
        files=[event for event in read if isinstance(event, FileLanded)],
    )
