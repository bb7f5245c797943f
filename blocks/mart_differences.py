"""What differs between a mart as somebody built it and as readers see it: rows, and values per column.

Rows are told apart by the grain that the mart's own test declares, so that a changed row is not taken for
one that came and one that went. The warehouse compares; only examples leave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from blocks.errors import ConfigurationError, PermanentError
from blocks.publication import MARTS
from blocks.warehouse import Cursor
from lambda_csv_loader.ducklake import sql_name, sql_string

if TYPE_CHECKING:
    import pandas as pd

GRAIN_TEST = "unique_grain"
_HERE, _THERE = "built", "published"
# A column that no mart has, to tell on which side of a full join a row is.
_PRESENT = "floe_is_present"
_FETCHED = 50_000


class MartMissing(ConfigurationError):
    """A mart was not built, or not published."""


class GrainBroken(PermanentError):
    """Rows of a mart cannot be told apart by its grain, so they cannot be compared one by one."""


@dataclass(frozen=True)
class MartDifferences:
    """How a built mart differs from the published one.

    Attributes:
        model: its name.
        key: the columns of its grain.
        built_rows: rows of the built table.
        published_rows: rows that readers see.
        added: rows that only the built table has.
        removed: rows that only readers see.
        changed: rows of both whose values differ in a column that both have.
        changed_values: column → in how many rows its value differs, where it does.
        new_columns: columns that only the built table has.
        gone_columns: columns that only readers see.
        retyped: column → its types, published and built, where they differ; compared as text.
    """

    model: str
    key: tuple[str, ...]
    built_rows: int
    published_rows: int
    added: int
    removed: int
    changed: int
    changed_values: dict[str, int] = field(default_factory=dict)
    new_columns: tuple[str, ...] = ()
    gone_columns: tuple[str, ...] = ()
    retyped: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def is_same(self) -> bool:
        """Whether a reader would notice nothing."""
        columns = self.new_columns or self.gone_columns or self.retyped
        return not (self.added or self.removed or self.changed or columns)


def grains(project: Path) -> dict[str, tuple[str, ...]]:
    """Return the columns that tell the rows of each mart of a dbt project apart.

    Args:
        project: folder of the dbt project.

    Raises:
        ConfigurationError: a mart has no test of its grain.
    """
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted((project / "models" / MARTS).rglob("*.yml")):
        for model in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("models", []):
            found[model["name"]] = _grain(model, file)
    return found


def _grain(model: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    for test in model.get("data_tests", []):
        if isinstance(test, dict) and GRAIN_TEST in test:
            return tuple(test[GRAIN_TEST]["arguments"]["columns"])
    raise ConfigurationError(
        f"{file}: {model['name']} has no test {GRAIN_TEST}, which says what one row of it is",
        next_command=f"add data_tests: {GRAIN_TEST} with the columns that tell its rows apart",
    )


class MartComparison:
    """One mart in two schemas of the warehouse, compared row by row."""

    def __init__(self, cursor: Cursor, model: str, key: Sequence[str], schema: str) -> None:
        """Look at the columns of both.

        Args:
            cursor: on the warehouse; reading is enough.
            model: the mart's name.
            key: the columns of its grain.
            schema: where it was built.

        Raises:
            MartMissing: one of the two is not there.
            ConfigurationError: one of the two lacks a column of the grain.
        """
        self._cursor, self._model, self._key = cursor, model, tuple(key)
        self._built = _Relation(cursor, schema, model, "floe run transform/marts")
        self._published = _Relation(cursor, MARTS, model, "floe run transform/marts, which publishes it")
        for relation in (self._built, self._published):
            relation.require(self._key)
        self._columns = [
            name for name in self._built.types if name in self._published.types and name not in self._key
        ]

    def differences(self) -> MartDifferences:
        """Count what differs.

        Raises:
            GrainBroken: in one of the two a combination of the grain's columns is not unique, or null.
        """
        here, there = (self._count(relation) for relation in (self._built, self._published))
        both = f"{_HERE}.{_PRESENT} is not null and {_THERE}.{_PRESENT} is not null"
        counts = [
            f"sum(case when {_THERE}.{_PRESENT} is null then 1 else 0 end)",
            f"sum(case when {_HERE}.{_PRESENT} is null then 1 else 0 end)",
            f"sum(case when {both} and ({self._differs()}) then 1 else 0 end)",
            *(
                f"sum(case when {both} and {self._differs([name])} then 1 else 0 end)"
                for name in self._columns
            ),
        ]
        self._cursor.execute(f"select {', '.join(counts)} from {self._pairs()}")
        added, removed, changed, *values = (int(count or 0) for count in self._cursor.fetchall()[0])
        built, published = self._built.types, self._published.types
        return MartDifferences(
            self._model,
            self._key,
            here,
            there,
            added,
            removed,
            changed,
            {name: count for name, count in zip(self._columns, values, strict=True) if count},
            tuple(name for name in built if name not in published),
            tuple(name for name in published if name not in built),
            {name: (published[name], built[name]) for name in self._columns if self._is_retyped(name)},
        )

    def rows(self) -> Iterator[pd.DataFrame]:
        """Yield the rows that differ, in the order of the grain, so many at a time that they fit into memory.

        Each has the column `difference` (added, removed, changed), the grain, and each common column as
        readers see it and as it was built.
        """
        import pandas as pd

        keys = [
            f"coalesce({_HERE}.{self._built.sql(name)}, {_THERE}.{self._published.sql(name)})"
            for name in self._key
        ]
        kind = (
            f"case when {_THERE}.{_PRESENT} is null then 'added' "
            f"when {_HERE}.{_PRESENT} is null then 'removed' else 'changed' end"
        )
        values = [
            f"{side}.{relation.sql(name)}"
            for name in self._columns
            for side, relation in ((_THERE, self._published), (_HERE, self._built))
        ]
        order = ", ".join(str(number) for number in range(2, len(keys) + 2))
        self._cursor.execute(
            f"select {', '.join([kind, *keys, *values])} from {self._pairs()} "
            f"where {_HERE}.{_PRESENT} is null or {_THERE}.{_PRESENT} is null or {self._differs()} "
            f"order by {order}"
        )
        sides = [f"{name} ({side})" for name in self._columns for side in (_THERE, _HERE)]
        while found := self._cursor.fetchmany(_FETCHED):
            yield pd.DataFrame(found, columns=["difference", *self._key, *sides], dtype=object)

    def _count(self, relation: _Relation) -> int:
        keys = ", ".join(relation.sql(name) for name in self._key)
        null = " or ".join(f"{relation.sql(name)} is null" for name in self._key)
        distinct = f"select count(*) from (select distinct {keys} from {relation.name}) as combinations"
        self._cursor.execute(
            f"select count(*), ({distinct}), sum(case when {null} then 1 else 0 end) from {relation.name}"
        )
        rows, found, nulls = (int(count or 0) for count in self._cursor.fetchall()[0])
        if nulls or found < rows:
            raise GrainBroken(
                f"{relation.shown}: ({', '.join(self._key)}) does not tell its rows apart: "
                f"{rows} rows, {found} combinations, {nulls} with a null",
                state="nothing was changed",
                next_command=f"correct the model, or the columns of its test {GRAIN_TEST}",
            )
        return rows

    def _pairs(self) -> str:
        on = " and ".join(
            f"{_HERE}.{self._built.sql(name)} = {_THERE}.{self._published.sql(name)}" for name in self._key
        )
        return (
            f"(select *, 1 as {_PRESENT} from {self._built.name}) as {_HERE} "
            f"full outer join (select *, 1 as {_PRESENT} from {self._published.name}) as {_THERE} on {on}"
        )

    def _differs(self, columns: Sequence[str] | None = None) -> str:
        terms = []
        for name in self._columns if columns is None else columns:
            here, there = f"{_HERE}.{self._built.sql(name)}", f"{_THERE}.{self._published.sql(name)}"
            if self._is_retyped(name):
                here, there = f"cast({here} as varchar)", f"cast({there} as varchar)"
            terms.append(f"{here} is distinct from {there}")
        return " or ".join(terms) or "1 = 0"

    def _is_retyped(self, name: str) -> bool:
        return self._built.types[name] != self._published.types[name]


class _Relation:
    """A table or view, its columns by their names in lower case."""

    def __init__(self, cursor: Cursor, schema: str, name: str, remedy: str) -> None:
        self.shown = f"{schema}.{name}"
        found = list(_described(cursor, schema, name))
        if not found:
            raise MartMissing(
                f"There is no {self.shown} in the warehouse", state="nothing was changed", next_command=remedy
            )
        self._stored = {stored.lower(): stored for _, _, stored, _ in found}
        self.types = {stored.lower(): kind.lower() for _, _, stored, kind in found}
        self.name = sql_name(*found[0][:2])

    def sql(self, column: str) -> str:
        """Return a column's quoted name as the warehouse stores it."""
        return sql_name(self._stored[column])

    def require(self, columns: Sequence[str]) -> None:
        """Raise where a column is missing."""
        missing = [name for name in columns if name not in self.types]
        if missing:
            raise ConfigurationError(
                f"{self.shown} has no column {', '.join(missing)}, which its grain names",
                state="nothing was changed",
                next_command=f"correct the columns of its test {GRAIN_TEST}",
            )


def _described(cursor: Cursor, schema: str, name: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield schema, table, column and type as the warehouse stores them; Snowflake has them in upper case."""
    cursor.execute(
        "select table_schema, table_name, column_name, data_type from information_schema.columns "
        f"where table_catalog = current_database() and lower(table_schema) = {sql_string(schema.lower())} "
        f"and lower(table_name) = {sql_string(name.lower())} order by ordinal_position"
    )
    yield from (tuple(map(str, row)) for row in cursor.fetchall())  # type: ignore[misc]
