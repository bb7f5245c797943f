"""One business day while it is being planned: its moments, its dice and the changes so far.

Planning only reads the databases. The result is applied and logged as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from random import Random
from typing import Any, Final

from deployments.local.sample.company import Company
from deployments.local.sample.event_log import Operation, Row, RowChange, json_value
from deployments.local.sample.tables import CHANGING, PRIMARY_KEYS, TABLES

_OPENING: Final = time(6, tzinfo=UTC)
_SOURCE_OF: Final = {table: source for source, tables in TABLES.items() for table in tables}
_STAMPED: Final = {table for tables in CHANGING.values() for table in tables}
_MICROSECOND: Final = timedelta(microseconds=1)


class BusinessDay:
    """Collects what happens on one day.

    Args:
        company: the state at the start of the day.
        date: the day.
        seed: with the date it decides everything that is random.
        clock: the company's business time; everything happens after it.
    """

    def __init__(self, company: Company, date: date, seed: int, clock: datetime) -> None:
        self.company = company
        self.date = date
        self.rng = Random(f"{seed} {date.isoformat()}")  # noqa: S311 - a simulation, not a secret
        self.opening = max(datetime.combine(date, _OPENING), clock)
        self._closing = datetime.combine(date + timedelta(days=1), time(tzinfo=UTC))
        self._changes: list[RowChange] = []
        self._touched: dict[str, set[tuple[int, ...]]] = {table: set() for table in PRIMARY_KEYS}
        self._moments: set[datetime] = set()
        self._counts: dict[str, int] = {}
        self._keys: dict[str, list[int]] = {}

    @property
    def changes(self) -> list[RowChange]:
        """The day's changes in the order of business time."""
        return sorted(self._changes, key=lambda change: change.at)

    def moments(self, count: int) -> list[datetime]:
        """Return `count` moments of the day in order, each given out only once."""
        length = (self._closing - self.opening) // _MICROSECOND
        drawn: list[datetime] = []
        while len(drawn) < count:
            moment = self.opening + self.rng.randrange(1, length) * _MICROSECOND
            if moment not in self._moments:
                self._moments.add(moment)
                drawn.append(moment)
        return sorted(drawn)

    def insert(self, kind: str, at: datetime, table: str, values: Mapping[str, Any]) -> None:
        """Plan a new row; columns that are not given are null."""
        row: dict[str, Any] = dict.fromkeys(self._columns[table]) | dict(values)
        if unknown := row.keys() - set(self._columns[table]):
            raise KeyError(f"{table} has no {sorted(unknown)}")
        self._add("insert", kind, at, table, row, None, row | _stamp(table, at))

    def update(
        self, kind: str, at: datetime, table: str, row: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """Plan new values for a row read as `row`; those equal to the present ones are left out."""
        changed = {name: value for name, value in values.items() if value != row[name]}
        if changed:
            before = {name: row[name] for name in [*changed, *_stamp(table, at)]}
            self._add("update", kind, at, table, row, before, changed | _stamp(table, at))

    def delete(self, kind: str, at: datetime, table: str, row: Mapping[str, Any]) -> None:
        """Plan the deletion of a row read as `row` with all its columns."""
        self._add("delete", kind, at, table, row, row, None)

    def is_untouched(self, table: str, row: Mapping[str, Any]) -> bool:
        """Tell whether nothing is planned for this row yet: each row changes at most once a day."""
        return _key(table, row) not in self._touched[table]

    def sample(self, table: str, count: int) -> list[dict[str, Any]]:
        """Return up to `count` random, untouched rows of a table with a surrogate key, in random order.

        Of `item` only the versions in force.
        """
        (key,) = PRIMARY_KEYS[table]
        keys, touched = self._surrogate_keys(table), self._touched[table]
        candidates = self.rng.sample(keys, min(count + len(touched), len(keys)))
        drawn = [sk for sk in candidates if (sk,) not in touched][:count]
        found = self.company.rows(
            _SOURCE_OF[table], f"select * from public.{table} where {key} = any(%s::bigint[])", drawn
        )  # fmt: skip
        by_key = {row[key]: row for row in found}
        return [by_key[sk] for sk in drawn]

    def next_key(self, table: str, column: str) -> int:
        """Return the number after the highest of a key column, planned rows included."""
        (highest,) = self.company.values(
            _SOURCE_OF[table], f"select coalesce(max({column}), 0) from public.{table}"
        )
        planned = (
            change.key[column]
            for change in self._changes
            if change.table == table and change.operation == "insert"
        )
        return max(int(highest), *planned, 0) + 1

    def count(self, table: str) -> int:
        """Return the number of rows of a table at the start of the day."""
        if table not in self._counts:
            (rows,) = self.company.values(_SOURCE_OF[table], f"select count(*) from public.{table}")
            self._counts[table] = int(rows)
        return self._counts[table]

    def _surrogate_keys(self, table: str) -> Sequence[int]:
        if table not in self._keys:
            (key,) = PRIMARY_KEYS[table]
            condition = "where i_rec_end_date is null" if table == "item" else ""
            self._keys[table] = self.company.values(
                _SOURCE_OF[table], f"select {key} from public.{table} {condition} order by {key}"
            )
        return self._keys[table]

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        columns: dict[str, list[str]] = {}
        for source in TABLES:
            for row in self.company.rows(
                source,
                "select table_name, column_name from information_schema.columns"
                " where table_schema = 'public' order by table_name, ordinal_position",
            ):
                columns.setdefault(row["table_name"], []).append(row["column_name"])
        return columns

    def _add(
        self, operation: Operation, kind: str, at: datetime, table: str, row: Mapping[str, Any],
        before: Mapping[str, Any] | None, after: Mapping[str, Any] | None,
    ) -> None:  # fmt: skip
        key = _key(table, row)
        if key in self._touched[table]:
            raise ValueError(f"{table} {key} is changed twice on {self.date}")
        self._touched[table].add(key)
        self._changes.append(
            RowChange(
                operation=operation,
                at=at,
                kind=kind,
                source=_SOURCE_OF[table],
                table=table,
                key=dict(zip(PRIMARY_KEYS[table], key, strict=True)),
                before=_values(before),
                after=_values(after),
            )
        )


def _stamp(table: str, at: datetime) -> dict[str, datetime]:
    return {"updated_at": at} if table in _STAMPED else {}


def _key(table: str, row: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(row[column]) for column in PRIMARY_KEYS[table])


def _values(row: Mapping[str, Any] | None) -> Row | None:
    return None if row is None else {name: json_value(value) for name, value in row.items()}
