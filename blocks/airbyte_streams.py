"""What a connection replicates, as its block carries it: streams, their tables, their guard."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Policy = Literal["fail", "propagate", "ignore"]


class ReplicatedStream(BaseModel):
    """One table of the source and the raw table that it is written to.

    Attributes:
        namespace: its schema in the source.
        name: its name in the source.
        raw_schema: schema of the raw table, as declared; Snowflake has it in upper case.
        raw_table: the raw table's name, as declared.
        sync_mode: Airbyte's name of it.
        primary_key: columns, empty when there is none.
        cursor: column, None for modes without one and for xmin and CDC.
        columns: those selected, None for all.
        fresh_within_seconds: how old the last good sync may be.
        owner: whom to ask.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str
    name: str
    raw_schema: str
    raw_table: str
    sync_mode: str = "full_refresh_overwrite"
    primary_key: tuple[str, ...] = ()
    cursor: str | None = None
    columns: tuple[str, ...] | None = None
    fresh_within_seconds: float | None = None
    owner: str | None = None

    @property
    def full_name(self) -> str:
        """Schema and table in the source."""
        return f"{self.namespace}.{self.name}"


class SchemaChanges(BaseModel):
    """What to do when the source no longer looks as it did at the last good sync.

    A new column is always reported. In every policy the change is said in the log and in the run's table.

    Attributes:
        columns: a column that is neither key nor cursor was dropped, renamed or retyped. `fail` stops
            before the sync; `propagate` syncs, and new columns are added to the raw table; `ignore`
            syncs, and new columns are left out.
        key_and_cursor: the same for a column of the key or the cursor, for a key that nothing keeps
            unique any more, and for a table that is gone. `propagate` and `ignore` both sync on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: Policy = Field("propagate", description="a column dropped, renamed or retyped")
    key_and_cursor: Policy = Field("fail", description="the same for key and cursor")
