"""What a connection's declaration says about comparing its streams with the source."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
