"""A replicated table in the lake: its layout, and the four ways in which rows get into it.

All functions run inside the caller's transaction. Layout: the source's columns in order, then Airbyte's
(https://docs.airbyte.com/platform/understanding-airbyte/airbyte-metadata-fields).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from blocks.postgres_types import SourceColumn
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
    """The source's columns no longer fit the replicated table."""


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

    def fit(self, columns: list[SourceColumn]) -> bool:
        """Create the table, or add what the source has gained.

        Returns:
            Whether the table is new.

        Raises:
            SchemaChanged: a column is gone from the source or has another type there.
        """
        wanted = {column.name: column.lake_type for column in columns} | META_COLUMNS
        present = self.columns()
        if present is None:
            definition = ", ".join(f"{sql_name(name)} {kind}" for name, kind in wanted.items())
            self.connection.execute(f"create schema if not exists {sql_name(CATALOG, self.schema)}")
            self.connection.execute(f"create table {self.sql} ({definition})")
            return True
        for name, kind in present.items():
            if name not in wanted:
                raise self._changed(f"column {name} is gone from the source or no longer selected")
            if kind != wanted[name]:
                raise self._changed(f"column {name} was {kind} and is {wanted[name]} now")
        for name, kind in wanted.items():
            if name not in present:
                self.connection.execute(f"alter table {self.sql} add column {sql_name(name)} {kind}")
        return False

    def append(self, relation: str) -> int:
        """Insert every row of `relation` and return how many they were."""
        return self._count(
            f"insert into {self.sql} by name (select * exclude ({RANK}) from {relation} where {RANK} = 1)"
        )

    def replace(self, relation: str) -> int:
        """Replace the content; readers see the old rows until the transaction is committed."""
        self.connection.execute(f"delete from {self.sql}")
        return self.append(relation)

    def holds(self, relation: str, columns: list[SourceColumn]) -> bool:
        """Tell whether the table's rows equal those of `relation`, duplicates counted, meta columns aside."""
        names = ", ".join(sql_name(column.name) for column in columns)
        counts = f"(select count(*) from {self.sql}) = (select count(*) from {relation} where {RANK} = 1)"
        new = f"select {names} from {relation} where {RANK} = 1 except all select {names} from {self.sql}"
        # As many rows on both sides and none of them new: the same rows.
        row = self.connection.execute(f"select {counts} and not exists ({new})").fetchone()
        return bool(row and row[0])

    def merge(
        self, relation: str, columns: list[SourceColumn], key: list[str], cursor: SourceColumn | None
    ) -> int:
        """Insert new keys and update known ones that changed; return how many rows were written.

        A row that was read again because it shares the boundary's cursor, and did not change, stays
        untouched.
        """
        on = " and ".join(f"t.{sql_name(name)} = s.{sql_name(name)}" for name in key)
        names = [column.name for column in columns]
        changed = " or ".join(
            f"t.{sql_name(name)} is distinct from s.{sql_name(name)}" for name in names if name not in key
        )
        newer = f"({changed or 'false'})"
        if cursor is not None and _orders_alike(cursor):
            c = sql_name(cursor.name)
            newer = (
                f"(s.{c} > t.{c} or (t.{c} is null and s.{c} is not null) "
                f"or (t.{c} is not distinct from s.{c} and {newer}))"
            )
        assignments = ", ".join(f"{sql_name(name)} = s.{sql_name(name)}" for name in [*names, *META_COLUMNS])
        return self._count(
            f"merge into {self.sql} as t "
            f"using (select * exclude ({RANK}) from {relation} where {RANK} = 1) as s on {on} "
            f"when matched and {newer} then update set {assignments} "
            "when not matched then insert by name"
        )

    def _count(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def _changed(self, what: str) -> SchemaChanged:
        return SchemaChanged(
            f"Stream {self.name}: {what} (table {self.schema}.{self.name})",
            state="nothing of this stream was written; earlier rows stay as they are",
            next_command="restore the column, or clear the stream's data and sync again",
        )


def _orders_alike(cursor: SourceColumn) -> bool:
    """Whether DuckDB orders the cursor as PostgreSQL does; texts depend on PostgreSQL's collation."""
    return cursor.lake_type not in ("VARCHAR", "JSON")
