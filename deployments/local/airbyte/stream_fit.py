"""What keeps a stream from ever being replicated as it is declared; trying again would change nothing."""

from __future__ import annotations

from blocks.postgres_catalog import SourceTable
from blocks.postgres_types import SourceColumn
from deployments.local.airbyte.raw_table import META_COLUMNS
from deployments.local.airbyte.source_reader import CHANGES, RANK

RESERVED = {*META_COLUMNS, RANK, CHANGES}


def misfit(
    table: SourceTable, sync_mode: str, cursor: str | None, key: list[str], selected: list[str] | None
) -> str | None:
    """Say in one sentence why a table cannot be replicated in this way, None when it can."""
    columns = [column for column in table.columns if selected is None or column.name in selected]
    return _unusable_names(columns) or _unusable_types(columns, sync_mode, cursor, key)


def _unusable_names(columns: list[SourceColumn]) -> str | None:
    seen: dict[str, str] = {}
    for column in columns:
        folded = column.name.lower()
        if folded in RESERVED:
            return f"the column {column.name} has the name of one of Airbyte's own columns"
        if folded in seen:
            return f"the columns {seen[folded]} and {column.name} differ in case only, they would be one"
        seen[folded] = column.name
    return None


def _unusable_types(
    columns: list[SourceColumn], sync_mode: str, cursor: str | None, key: list[str]
) -> str | None:
    for column in columns:
        incremental = sync_mode.startswith("incremental") and column.name == cursor
        if incremental and not column.fits_a_cursor:
            return f"the cursor {column.name} is {column.declared}, which has no largest value"
        deduped = sync_mode == "incremental_deduped_history" and column.name in key
        if deduped and not column.fits_a_key:
            return f"the key column {column.name} is {column.declared}, whose equal values can look unequal"
    return None
