"""What is reconciled: the streams of a connection with their policies, as a block that flows load."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from blocks.errors import ConfigurationError
from blocks.repair_policy import RepairPolicy
from blocks.strict_block import StrictBlock


class PlannedStream(BaseModel):
    """One stream as `reconcile` needs to know it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str
    name: str
    raw_schema: str
    raw_table: str
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
    saved_by = "floe connections apply"

    source: str
    streams: list[PlannedStream]

    def chosen(self, names: Sequence[str] | None) -> list[PlannedStream]:
        """Return the streams of these names.

        Args:
            names: `schema.table` or `table`; None for all.

        Raises:
            ConfigurationError: no stream has one of the names.
        """
        wanted = set(names or ())
        found = [stream for stream in self.streams if not wanted or wanted & {stream.name, stream.full_name}]
        unknown = wanted - {name for stream in found for name in (stream.name, stream.full_name)}
        if unknown:
            raise ConfigurationError(
                f"{self.source} has no stream {min(unknown)!r}: "
                + ", ".join(stream.full_name for stream in self.streams),
                state="nothing was compared",
            )
        return found


def plan_name(source: str) -> str:
    """Return the name under which a source's plan is saved; Prefect allows no underscore in it."""
    return f"{source.replace('_', '-')}-reconcile"
