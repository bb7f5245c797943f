"""How a source's tables differ from what is declared and from what they were at the last good sync.

Pure comparison; `blocks/schema_memory.py` reads and remembers. Airbyte itself looks at the source once a day
at most, goes on without a column that is gone, and pauses a connection whose key or cursor is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from blocks.airbyte_streams import ReplicatedStream, SchemaChanges
from blocks.errors import PermanentError
from blocks.postgres_catalog import SourceTable
from blocks.postgres_types import SourceColumn

Tables = Mapping[tuple[str, str], SourceTable]
# Kinds of relations on which PostgreSQL can keep a key unique; a view's key is the declaration's word.
_INDEXED = ("r", "p")


class SourceSchemaChanged(PermanentError):
    """The source looks otherwise than declared or remembered, and the connection's policy is to fail."""


@dataclass(frozen=True)
class RememberedColumn:
    """A column as it was at the last good sync.

    Attributes:
        declared: its type as a person writes it.
        position: see `SourceColumn.position`.
    """

    name: str
    declared: str
    position: int


Memory = Mapping[tuple[str, str], Sequence[RememberedColumn]]


@dataclass(frozen=True)
class SchemaChange:
    """One difference.

    Attributes:
        stream: schema and table.
        column: its name as declared or remembered; None when it is about the table.
        kind: what happened. `unkeyed` means that nothing keeps the declared key unique.
        what: the same for a person.
        critical: whether key, cursor or the whole table are concerned.
    """

    stream: str
    column: str | None
    kind: Literal["added", "dropped", "renamed", "retyped", "unkeyed", "gone"]
    what: str
    critical: bool

    def __str__(self) -> str:
        return f"{self.stream}: {self.what}"


def compare(streams: Sequence[ReplicatedStream], tables: Tables, memory: Memory) -> list[SchemaChange]:
    """Return every difference, in the order of the streams.

    Args:
        streams: as declared.
        tables: of the source as it is now.
        memory: columns at the last good sync; a stream that never had one is compared with its
            declaration only.
    """
    found: list[SchemaChange] = []
    for stream in streams:
        place = (stream.namespace, stream.name)
        found += _Comparison(stream, tables.get(place), memory.get(place, ())).changes()
    return found


def refuse(connection: str, changes: Sequence[SchemaChange], policy: SchemaChanges) -> None:
    """Stop where the policy says so.

    Args:
        connection: its name, for the message.
        changes: what `compare` found.
        policy: of the connection.

    Raises:
        SourceSchemaChanged: a change is not to be synced over.
    """
    critical = [change for change in changes if change.critical]
    harmless = [change for change in changes if not change.critical and change.kind != "added"]
    refused = [
        *(critical if policy.key_and_cursor == "fail" else []),
        *(harmless if policy.columns == "fail" else []),
    ]
    if not refused:
        return
    key = any(change.critical for change in refused)
    field = "key_and_cursor" if key else "columns"
    raise SourceSchemaChanged(
        f"The source of {connection} has changed: {'; '.join(str(change) for change in refused)}",
        state="no sync was started; the raw tables are as they were",
        next_command=("declare it as it is now and `floe connections apply`; " if key else "")
        + f"`floe connections check --accept` once it may be so; schema_changes.{field} declares the policy",
    )


@dataclass
class _Comparison:
    stream: ReplicatedStream
    table: SourceTable | None
    remembered: Sequence[RememberedColumn]

    def changes(self) -> Iterator[SchemaChange]:
        if self.table is None:
            yield self._change("gone", None, "the table is gone from the source", critical=True)
            return
        yield from self._lost_columns(self.table)
        yield from self._retyped_columns(self.table)
        yield from self._unkeyed(self.table)
        yield from self._added_columns(self.table)

    def _lost_columns(self, table: SourceTable) -> Iterator[SchemaChange]:
        needed = [*self.stream.primary_key, *([self.stream.cursor] if self.stream.cursor else [])]
        known = [column.name for column in self.remembered]
        for name in dict.fromkeys([*needed, *(self.stream.columns or ()), *known]):
            if table.column(name) is not None or not self._is_replicated(name):
                continue
            renamed = self._new_name(table, name)
            if renamed is not None:
                words = f"column {name}{self._role(name)} is now called {renamed}"
                yield self._change("renamed", name, words)
            else:
                yield self._change(
                    "dropped", name, f"column {name}{self._role(name)} is gone from the source"
                )

    def _retyped_columns(self, table: SourceTable) -> Iterator[SchemaChange]:
        for before in self.remembered:
            now = table.column(before.name)
            if now is not None and now.declared != before.declared and self._is_replicated(before.name):
                words = (
                    f"column {before.name}{self._role(before.name)} was {before.declared}, is {now.declared}"
                )
                yield self._change("retyped", before.name, words)

    def _unkeyed(self, table: SourceTable) -> Iterator[SchemaChange]:
        key = set(self.stream.primary_key)
        present = all(table.column(name) for name in key)
        if not key or not present or table.kind not in _INDEXED:
            return
        if not any(set(unique) <= key for unique in table.unique_keys):
            columns = ", ".join(self.stream.primary_key)
            words = f"no valid unique index, on columns that are not null, keeps the key ({columns}) unique"
            yield self._change("unkeyed", None, words, critical=True)

    def _added_columns(self, table: SourceTable) -> Iterator[SchemaChange]:
        if not self.remembered or self.stream.columns is not None:
            return
        known = {column.name for column in self.remembered}
        renamed = {self._new_name(table, name) for name in known if table.column(name) is None}
        for column in table.columns:
            if column.name not in known | renamed:
                words = f"column {column.name} ({column.declared}) is new"
                yield self._change("added", column.name, words, critical=False)

    def _new_name(self, table: SourceTable, name: str) -> str | None:
        """Return what a column is called now: the same place in the table, the same type, a new name."""
        before = next((column for column in self.remembered if column.name == name), None)
        if before is None:
            return None
        known = {column.name for column in self.remembered}

        def same(column: SourceColumn) -> bool:
            there = (column.position, column.declared) == (before.position, before.declared)
            return there and column.name not in known

        return next((column.name for column in table.columns if same(column)), None)

    def _is_replicated(self, name: str) -> bool:
        return self.stream.columns is None or name in self.stream.columns

    def _role(self, name: str) -> str:
        if name in self.stream.primary_key:
            return " of the key"
        return ", the cursor," if name == self.stream.cursor else ""

    def _change(
        self,
        kind: Literal["added", "dropped", "renamed", "retyped", "unkeyed", "gone"],
        column: str | None,
        what: str,
        *,
        critical: bool | None = None,
    ) -> SchemaChange:
        if critical is None:
            critical = column in self.stream.primary_key or column == self.stream.cursor
        return SchemaChange(self.stream.full_name, column, kind, what, critical)
