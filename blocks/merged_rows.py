"""A raw table with Floe's repairs, as dbt's staging models read it.

The rule stands in the dbt project alone: this renders the same macro, so that `reconcile` compares with the
source exactly what staging will show.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment

from blocks.dbt import PROJECT
from blocks.warehouse_dialects import Database, RawColumn, describe
from lambda_csv_loader.ducklake import sql_name

PREFIX = "__floe_repairs_"
# What a repair has on top of the raw table's columns.
REPAIR_COLUMNS = {
    "_floe_repair_action": "varchar",
    "_floe_repaired_at": "timestamp with time zone",
    "_floe_replaces": "varchar",
}


@dataclass(frozen=True)
class RawTable:
    """A replicated table and its repairs, as they are in the warehouse.

    Attributes:
        schema: as the warehouse spells it.
        name: as the warehouse spells it.
        columns: of the raw table, Airbyte's own among them.
        repair_columns: of the repair table, None when there is none yet.
    """

    schema: str
    name: str
    columns: list[RawColumn]
    repair_columns: list[RawColumn] | None

    @property
    def sql(self) -> str:
        """The quoted name."""
        return sql_name(self.schema, self.name)

    @property
    def repairs(self) -> str:
        """The quoted name of the repair table, in the raw table's case."""
        prefix = PREFIX.upper() if self.name.isupper() else PREFIX
        return sql_name(self.schema, f"{prefix}{self.name}")

    def column(self, name: str) -> RawColumn | None:
        """Return the column of that name in whatever case, None when there is none."""
        return next((column for column in self.columns if column.name.upper() == name.upper()), None)

    def merged(self, key: list[RawColumn], cursor: RawColumn | None) -> str:
        """Return the relation that staging reads: the raw table, or a subquery that merges the repairs."""
        if self.repair_columns is None:
            return self.sql
        known = {column.name.lower() for column in self.repair_columns}
        query = _macro().merged_rows(
            self.sql,
            self.repairs,
            [column.sql for column in self.columns],
            [column.sql for column in self.columns if column.name.lower() in known],
            [column.sql for column in key],
            cursor.sql if cursor else None,
            "_floe_replaces" in known,
        )
        return f"({query})"


def find_raw_table(database: Database, dialect_name: str, schema: str, table: str) -> RawTable | None:
    """Return a replicated table as it is now, None when it was never synced."""
    raw = describe(database, dialect_name, schema, table)
    if raw is None:
        return None
    repairs = describe(database, dialect_name, raw[0], f"{PREFIX}{raw[1]}")
    return RawTable(*raw, repairs[2] if repairs else None)


@cache
def _macro() -> Any:
    source = (PROJECT / "macros" / "merged_rows.sql").read_text()
    return Environment(autoescape=False).from_string(source).module  # noqa: S701  (SQL, not HTML)
