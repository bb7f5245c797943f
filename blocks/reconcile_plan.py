"""What is reconciled: the streams of a connection with their policies, as a block that flows load."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from blocks.strict_block import StrictBlock


class RepairPolicy(BaseModel):
    """What is compared, how often, and what is done about differences."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compare: Literal["key", "all", "nothing"] = Field(
        "key", description="key: keys and cursors; all: every column; nothing: never"
    )
    compare_every: timedelta = Field(
        timedelta(0), description="`elt` leaves out a stream whose last comparison is younger"
    )
    window: timedelta | None = Field(
        None, description="leave out rows whose cursor is older than the newest one by more than this"
    )
    differences: Literal["repair", "report", "fail"] = Field(
        "repair", description="what to do about missing and stale rows"
    )
    deletes: Literal["repair", "report", "fail", "ignore"] = Field(
        "repair", description="what to do about rows that the source has no more"
    )
    largest_share_deleted: float = Field(
        0.2, ge=0, le=1, description="a larger share of a stream's rows is not believed to be deleted"
    )


class PlannedStream(BaseModel):
    """One stream as `reconcile` needs to know it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str
    name: str
    target_schema: str
    sync_mode: str
    primary_key: list[str]
    cursor: str | None = None
    columns: list[str] | None = None
    policy: RepairPolicy

    @property
    def full_name(self) -> str:
        """Schema and table in the source."""
        return f"{self.namespace}.{self.name}"

    @property
    def why_not(self) -> str | None:
        """Why this stream is not compared, None when it is."""
        if self.policy.compare == "nothing":
            return "declared so"
        if self.sync_mode.endswith("_append"):
            return "append keeps every version of a row"
        return None if self.primary_key else "no primary key is declared"


class ReconcilePlan(StrictBlock):
    """The streams of one connection and how each is reconciled. Saved as `<source>-reconcile`."""

    _block_type_name = "Floe Reconcile Plan"
    _block_type_slug = "floe-reconcile-plan"
    _description = "Which replicated tables are compared with their source, and what is repaired."

    source: str
    streams: list[PlannedStream]
