"""Publishing the marts as a set: readers see the last whole, tested set, never a half-built one.

dbt works in `build`, which continues from run to run. After every test passed:

- DuckLake: the views of `marts` are repointed to the new version of the build tables, all in one
  transaction, and no data is copied (https://ducklake.select/docs/stable/duckdb/usage/time_travel).
- Snowflake: `MARTS_NEXT` is cloned from `BUILD` and swapped with `MARTS`; the old set stays as
  `MARTS_PREVIOUS`.

A build whose nodes failed stays as it is, noted as failed, so that a retry of its run can go on with it.
Every other build begins with `build` and `snapshots` brought back to what is published, and so does every
other failure end, so that history keeps no trace of a bad run and the next one starts from the last good
state.

Each attempt at a build is a row of `ops.builds`; its `state` is `running` (also after its process was
killed), then `published`, `restored`, `failed`, or `continued` by the attempt that took it up.
"""

from __future__ import annotations

from collections.abc import Collection
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


@dataclass(frozen=True)
class Changes:
    """What is not as the last published build found it, or left it.

    Attributes:
        publication_id: of the set that this build published.
        relations: schema and name of every table and view that is another, new or gone, in lower case.
        began_with: DuckLake's snapshot id that this build began to read with.
        published_version: that which it published.
    """

    publication_id: str
    relations: frozenset[tuple[str, str]]
    began_with: int
    published_version: int


class Publisher(Protocol):
    """What `transform` asks of either engine."""

    def begin(self, run: str) -> str | None:
        """Note that a build starts; first restore what a failed or killed run left.

        Returns:
            The state of what was restored, `failed` or `running`; None when nothing had to be.
        """

    def leave(self, run: str) -> None:
        """Note that a build failed, and leave build and snapshots as they are for a retry of its run."""

    def failed(self) -> str | None:
        """Return the run whose failed build still stands in build and snapshots."""

    def has_new_data(self, failed: str, schemas: Collection[str]) -> bool:
        """Tell whether something in the schemas changed since a failed build began, or nobody knows any more.

        Args:
            failed: the build's run.
            schemas: what the project reads, in lower case.
        """

    def changes(self, read: Collection[str], written: Collection[str]) -> Changes | None:
        """Compare the warehouse with what the last published build read and wrote.

        Args:
            read: schemas, in lower case, whose changes count since that build began to read.
            written: schemas whose changes count since it was published.

        Returns:
            The changes; None when nothing was published yet, or when nobody can tell.
        """

    def go_on(self, failed: str, run: str) -> None:
        """Note that a run takes up a failed build where it stands; it may be the same run."""

    def publish(self, run: str, models: list[str]) -> Publication:
        """Let readers see the build's tables `models`, all at once."""

    def restore(self, run: str) -> None:
        """Bring build and snapshots back to the published state after a failure."""

    def rollback(self) -> Publication:
        """Let readers see the set before the current one again."""

    def current(self) -> Publication | None:
        """Return what readers see now."""
