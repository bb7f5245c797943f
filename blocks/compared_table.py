"""The SQL that compares one table of the source with its merged rows in the warehouse.

Both sides are cut into the same buckets by key and give a count and an order-independent sum of hashes for
each; of a bucket that differs they give keys and hashes; of a key that differs they give the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from blocks.canonical_text import ColumnPair, number, row_text
from blocks.merged_rows import RawTable
from blocks.postgres_catalog import SourceTable
from blocks.warehouse_dialects import Dialect, Kind
from lambda_csv_loader.ducklake import sql_name, sql_string

# A row's key as text, in the form that both sides read back as the same value.
Key = tuple[str, ...]
_ALIAS = "_floe_row"


@dataclass(frozen=True)
class Bounds:
    """Which rows are compared: those whose cursor is not outside, and those that have none.

    Attributes:
        upper: the newest cursor in the warehouse, as text; None when the stream or its rows have no cursor.
        lower: the oldest cursor of the window; None compares from the beginning.
    """

    upper: str | None = None
    lower: str | None = None


@dataclass(frozen=True)
class ComparedTable:
    """One table on both sides.

    Attributes:
        dialect: of the warehouse.
        source: the table in the source.
        raw: the table in the warehouse.
        columns: those that both sides have, in the warehouse's order.
        key: the columns that identify a row.
        cursor: the column that grows with every change, None when there is none.
        whole_rows: compare every column, not only key and cursor.
        keeps_newest: the sync keeps one row per key, should the source have several.
    """

    dialect: Dialect
    source: SourceTable
    raw: RawTable
    columns: list[ColumnPair]
    key: list[ColumnPair]
    cursor: ColumnPair | None
    whole_rows: bool
    keeps_newest: bool

    @property
    def compared(self) -> list[ColumnPair]:
        """The columns that must be equal, the key first."""
        head = [*self.key, *([self.cursor] if self.cursor and self.cursor not in self.key else [])]
        return [*head, *(pair for pair in self.columns if pair not in head)] if self.whole_rows else head

    @property
    def merged(self) -> str:
        """The warehouse's relation, repairs merged in."""
        return self.raw.merged([pair.raw for pair in self.key], self.cursor.raw if self.cursor else None)

    # What is compared ------------------------------------------------------------------------------

    def newest_cursor(self) -> str:
        """Return the warehouse's query for the newest replicated cursor, as text that PostgreSQL reads."""
        assert self.cursor is not None  # noqa: S101
        raw, value = self.cursor.raw, self.cursor.raw.sql
        if raw.kind == "text":
            # Numbers that are kept as text must not be ordered as text.
            is_number = self.cursor.source.type_category == "N"
            newest = f"max_by({value}, try_cast({value} as decimal(38, 9)))" if is_number else f"max({value})"
        else:
            finite = f"max(case when {self.dialect.finite(raw, value)} then {value} end)"
            newest = self.dialect.key_text(raw, finite)
        return f"select count(*), {newest} from {self.raw.sql}"

    def window_start(self, upper: str, seconds: int) -> str:
        """Return the source's query for the cursor some seconds before `upper`, as text."""
        assert self.cursor is not None  # noqa: S101
        declared = self.cursor.source.declared
        return f"select ({sql_string(upper)}::{declared} - interval '{seconds} seconds')::{declared}::text"

    def is_due(self, bounds: Bounds) -> str:
        """Return the source's condition for rows that a sync must have brought."""
        if self.cursor is None:
            return "true"
        # Without a bound there are rows without a cursor only, which come with the first sync.
        inside = f"{self._ordered} <= {self._bound(bounds.upper)}" if bounds.upper else "false"
        return f"({inside} or {self._unordered})"

    def _is_compared(self, bounds: Bounds) -> str:
        due = self.is_due(bounds)
        if bounds.lower is None:
            return due
        return f"({due} and ({self._ordered} >= {self._bound(bounds.lower)} or {self._unordered}))"

    @property
    def _ordered(self) -> str:
        """The cursor in the order that the warehouse knows: texts by their bytes."""
        assert self.cursor is not None  # noqa: S101
        is_text = self.cursor.raw.kind == "text" and self.cursor.source.type_category != "N"
        return f'{self.cursor.sql}::text collate "C"' if is_text else self.cursor.sql

    def _bound(self, text: str) -> str:
        assert self.cursor is not None  # noqa: S101
        is_text = self.cursor.raw.kind == "text" and self.cursor.source.type_category != "N"
        return f"{sql_string(text)}::{'text' if is_text else self.cursor.source.declared}"

    @property
    def _unordered(self) -> str:
        """The condition for rows that have no place in the order: NULL here, or in the warehouse."""
        assert self.cursor is not None  # noqa: S101
        conditions = [f"{self.cursor.sql} is null", self.cursor.unfit, self.cursor.source.endless]
        return " or ".join(condition for condition in conditions if condition)

    # Buckets ---------------------------------------------------------------------------------------

    def source_buckets(self, bounds: Bounds, buckets: int) -> str:
        """Return the source's query for bucket, count and sum of hashes."""
        return (
            f"select {self._source_bucket(buckets)} as bucket, count(*), "
            f"sum({number(self._source_row)})::text from {self._source_rows(bounds)} group by 1"
        )

    def warehouse_buckets(self, bounds: Bounds, buckets: int) -> str:
        """Return the warehouse's query for bucket, count and sum of hashes."""
        hashed = self.dialect.number(self._warehouse_row(self.compared))
        return (
            f"select {self._warehouse_bucket(buckets)} as bucket, count(*), cast(sum({hashed}) as varchar) "
            f"from {self.merged} as merged where {self._warehouse_window(bounds)} group by 1"
        )

    def source_keys(self, bounds: Bounds, buckets: int, chosen: Sequence[int] | None) -> str:
        """Return the source's query for bucket, key id, row hash and key of the chosen buckets' rows."""
        bucket = self._source_bucket(buckets)
        keys = ", ".join(pair.transported for pair in self.key)
        return (
            f"select {bucket} as bucket, md5({self._source_key}), {number(self._source_row)}, {keys} "
            f"from {self._source_rows(bounds)}{_only(' where', bucket, chosen)} order by bucket"
        )

    def warehouse_keys(self, bounds: Bounds, buckets: int, chosen: Sequence[int] | None) -> str:
        """Return the warehouse's query for the same."""
        bucket = self._warehouse_bucket(buckets)
        keys = ", ".join(self.dialect.key_text(pair.raw, f"merged.{pair.raw.sql}") for pair in self.key)
        return (
            f"select {bucket} as bucket, md5({self._warehouse_row(self.key)}), "
            f"{self.dialect.number(self._warehouse_row(self.compared))}, {keys} from {self.merged} as merged "
            f"where {self._warehouse_window(bounds)}{_only(' and', bucket, chosen)} order by bucket"
        )

    def _source_rows(self, bounds: Bounds) -> str:
        where = self._is_compared(bounds)
        rows = f"select * from {self._source_table} as {_ALIAS} where {where}"
        if self.keeps_newest and not self._key_is_unique:
            keys = ", ".join(pair.sql for pair in self.key)
            rows = f"select distinct on ({keys}) * from ({rows}) as {_ALIAS} order by {keys}, {self._newest}"
        return f"({rows}) as {_ALIAS}"

    def _warehouse_window(self, bounds: Bounds) -> str:
        if self.cursor is None or bounds.lower is None:
            return "true"
        cursor = f"merged.{self.cursor.raw.sql}"
        lower = self.dialect.cast(self.dialect.literal(bounds.lower), self.cursor.raw.declared)
        return f"({cursor} is null or {cursor} >= {lower})"

    @property
    def _newest(self) -> str:
        """The order in which the row that a sync keeps comes first among those of one key."""
        first = f"{self.cursor.sql} desc nulls last, " if self.cursor else ""
        return f"{first}{_ALIAS}::text desc"

    @property
    def _key_is_unique(self) -> bool:
        names = {pair.source.name for pair in self.key}
        return any(set(unique) <= names for unique in self.source.unique_keys)

    @property
    def _source_table(self) -> str:
        return sql_name(self.source.schema, self.source.name)

    @property
    def _source_key(self) -> str:
        return row_text([(pair.raw.kind, pair.text) for pair in self.key])

    @property
    def _source_row(self) -> str:
        return row_text([(pair.raw.kind, pair.text) for pair in self.compared])

    def _warehouse_row(self, columns: list[ColumnPair]) -> str:
        texts: list[tuple[Kind, str]] = [
            (pair.raw.kind, self.dialect.text(pair.raw, f"merged.{pair.raw.sql}")) for pair in columns
        ]
        return self.dialect.row_text(texts)

    def _source_bucket(self, buckets: int) -> str:
        if all(pair.is_integer for pair in self.key):
            return _folded([pair.sql for pair in self.key], buckets)
        return f"({number(self._source_key)} % {buckets})"

    def _warehouse_bucket(self, buckets: int) -> str:
        if all(pair.is_integer for pair in self.key):
            return _folded([f"merged.{pair.raw.sql}" for pair in self.key], buckets)
        return f"({self.dialect.number(self._warehouse_row(self.key))} % {buckets})"

    # Single rows -----------------------------------------------------------------------------------

    def source_by_key(self, keys: Sequence[Key], bounds: Bounds) -> str:
        """Return the source's query for these keys' rows.

        Returns:
            A query for the key's place in `keys`, the row's hash, whether it is due, what became of values
            that the warehouse cannot hold (a JSON list), and the text of each of `columns`.
        """
        names = [f"_floe_k{i}" for i in range(len(self.key))]
        arrays = ", ".join(
            f"array[{', '.join(sql_string(key[i]) for key in keys)}]::text[]" for i in range(len(self.key))
        )
        on = " and ".join(
            f"{_ALIAS}.{pair.sql} = wanted.{name}::{pair.source.declared}"
            for pair, name in zip(self.key, names, strict=True)
        )
        texts = ", ".join(pair.transported for pair in self.columns)
        return (
            f"select distinct on (_floe_n) _floe_n - 1, {number(self._source_row)}, {self.is_due(bounds)}, "
            f"{_changes(self.columns)}, {texts} from {self._source_table} as {_ALIAS} "
            f"join unnest({arrays}) with ordinality as wanted({', '.join(names)}, _floe_n) on {on} "
            f"order by _floe_n, {self._newest}"
        )

    def warehouse_by_key(self, keys: Sequence[Key]) -> str:
        """Return the warehouse's query for these keys' rows.

        Returns:
            A query for the key's place in `keys`, the merged row's hash (NULL when there is no row) and the
            id of the raw row (NULL when there is none).
        """
        first = f"merged.{self.key[0].raw.sql}"
        hashed = self.dialect.number(self._warehouse_row(self.compared))
        return (
            f"with wanted as ({self.wanted(keys)}) "
            f"select wanted._floe_n, case when {first} is not null then {hashed} end, "
            f"replicated._airbyte_raw_id from wanted "
            f"left join {self.merged} as merged on {self.matches('merged')} "
            f"left join {self.raw.sql} as replicated on {self.matches('replicated')}"
        )

    def wanted(self, keys: Sequence[Key]) -> str:
        """Return the warehouse's query that gives these keys, each with its place `_floe_n`."""
        rows = ", ".join(
            f"({n}, {', '.join(self.dialect.literal(part) for part in key)})" for n, key in enumerate(keys)
        )
        names = [f"_floe_k{i}" for i in range(len(self.key))]
        casts = ", ".join(
            f"{self.dialect.cast(name, pair.raw.declared)} as {name}"
            for name, pair in zip(names, self.key, strict=True)
        )
        return f"select _floe_n, {casts} from (values {rows}) as given(_floe_n, {', '.join(names)})"

    def matches(self, alias: str) -> str:
        """Return the condition that joins `wanted` to a relation of the warehouse."""
        return " and ".join(f"wanted._floe_k{i} = {alias}.{pair.raw.sql}" for i, pair in enumerate(self.key))


def _folded(columns: Iterable[str], buckets: int) -> str:
    """Return the bucket of integer keys; both engines round towards zero, so negative ones agree too."""
    first, *others = (f"{column} % {buckets}" for column in columns)
    bucket = f"({first})"
    for other in others:
        bucket = f"(({bucket} * 31 + {other}) % {buckets})"
    return bucket


def _only(word: str, bucket: str, chosen: Sequence[int] | None) -> str:
    return "" if chosen is None else f"{word} {bucket} in ({', '.join(map(str, chosen))})"


def _changes(columns: list[ColumnPair]) -> str:
    """Return the source's expression for `_airbyte_meta.changes` of a row: a JSON list as text."""
    entries = [
        f"case when {pair.unfit} then {sql_string(_change(pair.source.name))} end"
        for pair in columns
        if pair.unfit
    ]
    return "'[' || array_to_string(array[" + ", ".join(entries) + "], ',') || ']'" if entries else "'[]'"


def _change(field: str) -> str:
    return json.dumps({"field": field, "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"})
