"""Publishing the marts as a set: readers see the last whole, tested set, never a half-built one.

dbt works in `build`, which continues from run to run. After every test passed:

- DuckLake: the views of `marts` are repointed to the new version of the build tables, all in one
  transaction, and no data is copied (https://ducklake.select/docs/stable/duckdb/usage/time_travel).
- Snowflake: `MARTS_NEXT` is cloned from `BUILD` and swapped with `MARTS`; the old set stays as
  `MARTS_PREVIOUS`.

After a failure, `build` and `snapshots` are brought back to what is published, so that history
keeps no trace of a bad run and the next one starts from the last good state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from lambda_csv_loader.errors import PermanentError

BUILD, SNAPSHOTS, MARTS, OPS = "build", "snapshots", "marts", "ops"


class NothingToRollBack(PermanentError):
    """There is no earlier publication to return to."""


@dataclass(frozen=True)
class Publication:
    """One published set of marts.

    Attributes:
        publication_id: identifies the set in `ops.publications`.
        published_at: when readers began to see it (UTC).
        version: DuckLake's snapshot id; None on Snowflake.
        models: the marts in it.
    """

    publication_id: str
    published_at: datetime
    version: int | None
    models: tuple[str, ...]


class Publisher(Protocol):
    """What `transform` asks of either engine."""

    def begin(self, run: str) -> bool:
        """Note that a build starts; first restore what a killed run left. Return whether it had to."""

    def publish(self, run: str, models: list[str]) -> Publication:
        """Let readers see the build's tables `models`, all at once."""

    def restore(self, run: str) -> None:
        """Bring build and snapshots back to the published state after a failure."""

    def rollback(self) -> Publication:
        """Let readers see the set before the current one again."""

    def current(self) -> Publication | None:
        """Return what readers see now."""
