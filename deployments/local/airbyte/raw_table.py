"""A replicated table in the lake: its layout, and the four ways in which rows get into it.

All functions run inside the caller's transaction. Layout: the source's columns in order, then Airbyte's
(https://docs.airbyte.com/platform/understanding-airbyte/airbyte-metadata-fields).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from blocks.postgres_types import SourceColumn
from deployments.local.airbyte.job_spec import SchemaUpdates
from deployments.local.airbyte.source_reader import RANK
from lambda_csv_loader.ducklake import CATALOG, sql_name
from lambda_csv_loader.errors import PermanentError

META_COLUMNS = {
    "_airbyte_raw_id": "VARCHAR",
    "_airbyte_extracted_at": "TIMESTAMP WITH TIME ZONE",
    "_airbyte_meta": "JSON",
    "_airbyte_generation_id": "BIGINT",
}


class SchemaChanged(PermanentError):
    """The source's columns do not fit the declaration or the replicated table.

    Args:
        what: the stream and what does not fit.
        pauses_connection: whether Airbyte would pause the connection until somebody has looked at it.
    """

    def __init__(self, what: str, *, pauses_connection: bool = False) -> None:
        self.pauses_connection = pauses_connection
        super().__init__(
            what,
            state="nothing of this stream was written; earlier rows stay as they are",
            next_command="floe connections plan",
        )


@dataclass(frozen=True)
class Fit:
    """How a source's columns and those of the replicated table go together.

    Attributes:
        is_new: whether the table was made just now.
        columns: those to be read.
        gone: columns of the table that the source has no more, with their types.
    """

    is_new: bool
    columns: list[SourceColumn]
    gone: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Every column but Airbyte's own."""
        return [*(column.name for column in self.columns), *self.gone]


@dataclass(frozen=True)
class RawTable:
    """One table of the lake that a stream writes to."""

    connection: duckdb.DuckDBPyConnection
    schema: str
    name: str

    @property
    def sql(self) -> str:
        """The quoted name."""
        return sql_name(CATALOG, self.schema, self.name)

    def columns(self) -> dict[str, str] | None:
        """Return the table's columns and types, None when there is no such table."""
        try:
            rows = self.connection.execute(f"describe {self.sql}").fetchall()
        except duckdb.CatalogException:
            return None
        return {row[0]: row[1] for row in rows}

    def is_empty(self) -> bool:
        """Tell whether the table has no row."""
        return self.connection.execute(f"select 1 from {self.sql} limit 1").fetchone() is None

    def fit(self, columns: list[SourceColumn], updates: SchemaUpdates, declared: list[str]) -> Fit:
        """Create the table, or make it and the source's columns go together.

        The lake, like Snowflake, does not tell names apart by case.

        Args:
            columns: what the source has.
            updates: what to do about columns that came or went.
            declared: columns that the connection names, which are wanted whatever `updates` says.

        Raises:
            SchemaChanged: a column has another type now, or came or went and nobody is to go on then.
        """
        present = self.columns()
        if present is None:
            self._create(columns)
            return Fit(True, columns, {})
        known = {name.lower(): kind for name, kind in present.items()}
        new = [column for column in columns if column.name.lower() not in known]
        arriving = {column.name.lower() for column in columns} | META_COLUMNS.keys()
        gone = {name: kind for name, kind in present.items() if name.lower() not in arriving}
        self._refuse_changes(columns, known, updates, new, gone)
        if updates == "ignore":
            columns = [column for column in columns if column not in new or column.name in declared]
        missing = {column.name: column.lake_type for column in columns if column in new}
        missing |= {name: kind for name, kind in META_COLUMNS.items() if name not in known}
        for name, kind in missing.items():
            self.connection.execute(f"alter table {self.sql} add column {sql_name(name)} {kind}")
        return Fit(False, columns, gone)

    def _create(self, columns: list[SourceColumn]) -> None:
        wanted = {column.name: column.lake_type for column in columns} | META_COLUMNS
        definition = ", ".join(f"{sql_name(name)} {kind}" for name, kind in wanted.items())
        self.connection.execute(f"create schema if not exists {sql_name(CATALOG, self.schema)}")
        self.connection.execute(f"create table {self.sql} ({definition})")

    def _refuse_changes(
        self,
        columns: list[SourceColumn],
        known: dict[str, str],
        updates: SchemaUpdates,
        new: list[SourceColumn],
        gone: dict[str, str],
    ) -> None:
        stops = updates == "disable_connection"
        for column in columns:
            kind = known.get(column.name.lower(), column.lake_type)
            if kind != column.lake_type:
                what = f"column {column.name} was {kind} and is {column.lake_type} now"
                raise self._changed(what, pauses_connection=stops)
        if stops and gone:
            what = f"column {', '.join(gone)} is gone from the source or no longer selected"
            raise self._changed(what, pauses_connection=True)
        if stops and new:
            what = f"column {', '.join(column.name for column in new)} is new in the source"
            raise self._changed(what, pauses_connection=True)

    def append(self, relation: str) -> int:
        """Insert every row of `relation` and return how many they were."""
        return self._count(
            f"insert into {self.sql} by name (select * exclude ({RANK}) from {relation} where {RANK} = 1)"
        )

    def replace(self, relation: str) -> int:
        """Replace the content; readers see the old rows until the transaction is committed."""
        self.connection.execute(f"delete from {self.sql}")
        return self.append(relation)

    def holds(self, relation: str, columns: list[str]) -> bool:
        """Tell whether the table's rows equal those of `relation`, duplicates counted, meta columns aside.

        By their number and the sum of their hashes, in one pass over each and in constant memory; that
        unequal rows look equal has a chance of one in 2^64.
        """
        names = ", ".join(sql_name(name) for name in columns)
        digest = f"select (count(*), sum(hash({names})))"
        row = self.connection.execute(
            f"select ({digest} from {self.sql}) = ({digest} from {relation} where {RANK} = 1)"
        ).fetchone()
        return bool(row and row[0])

    def merge(self, relation: str, fit: Fit, key: list[str], cursor: SourceColumn | None) -> int:
        """Insert new keys and update known ones that changed; return how many rows were written.

        A row that was read again because it shares the boundary's cursor, and did not change, stays
        untouched. In rows that are written, columns that the source has no more become NULL.
        """
        on = " and ".join(f"t.{sql_name(name)} = s.{sql_name(name)}" for name in key)
        read = [column.name for column in fit.columns if column.name not in key]
        changed = " or ".join(f"t.{sql_name(name)} is distinct from s.{sql_name(name)}" for name in read)
        newer = f"({changed or 'false'})"
        if cursor is not None and _orders_alike(cursor):
            c = sql_name(cursor.name)
            newer = (
                f"(s.{c} > t.{c} or (t.{c} is null and s.{c} is not null) "
                f"or (t.{c} is not distinct from s.{c} and {newer}))"
            )
        written = [*fit.names, *META_COLUMNS]
        assignments = ", ".join(f"{sql_name(name)} = s.{sql_name(name)}" for name in written)
        return self._count(
            f"merge into {self.sql} as t "
            f"using (select * exclude ({RANK}) from {relation} where {RANK} = 1) as s on {on} "
            f"when matched and {newer} then update set {assignments} "
            "when not matched then insert by name"
        )

    def _count(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def _changed(self, what: str, *, pauses_connection: bool) -> SchemaChanged:
        return SchemaChanged(
            f"Stream {self.name}: {what} (table {self.schema}.{self.name})",
            pauses_connection=pauses_connection,
        )


def _orders_alike(cursor: SourceColumn) -> bool:
    """Whether DuckDB orders the cursor as PostgreSQL does; texts depend on PostgreSQL's collation."""
    return cursor.lake_type not in ("VARCHAR", "JSON")
