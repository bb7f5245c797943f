"""What a backfill is asked for, and the runs that do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceBackfill(_Asked):
    """Streams of one source database, read anew or compared again."""

    source: str = Field(description="the database, by the name of its connection")
    streams: list[str] = Field(
        default_factory=list, description="schema.table or table; all of the connection's when empty"
    )
    refresh: bool = Field(
        True,
        description="forget how far the streams were read, read them as a whole and replace their rows; "
        "without it they are only compared",
    )
    compare_days: float | None = Field(
        None,
        ge=1,
        description="compare with the source only rows whose cursor is at most so many days older than the "
        "newest; as declared when left out",
    )


class FilesBackfill(_Asked):
    """Files of one dataset."""

    dataset: str = Field(description="the dataset, as its contract names it")
    prefix: str | None = Field(None, description="only keys that begin so, from landing/<dataset>/ on")
    since: date | None = Field(
        None, description="only files uploaded on this day (UTC) or later, whatever date their names have"
    )
    until: date | None = Field(
        None, description="only files uploaded on this day (UTC) or earlier, whatever date their names have"
    )
    again: Literal["nothing", "refused", "everything"] = Field(
        "nothing",
        description="nothing: load what is missing; refused: also what was quarantined; everything: also "
        "what is loaded",
    )


# It is no run of `transform/marts`: new marts of such a run are shown at once (prefect.yaml), those of a
# backfill only where it is asked for.
BUILD = "transform"


@dataclass(frozen=True)
class Part:
    """One run: of a deployment, or of the flow `transform` as a step of the backfill's own.

    Attributes:
        step: `flow/deployment`, or `BUILD`.
        parameters: of the flow, as JSON has them.
        does: what it will do, for a person.
        asked: what it is part of; None for what every backfill ends with.
    """

    step: str
    parameters: dict[str, Any]
    does: str
    asked: SourceBackfill | FilesBackfill | None = None


def parts_of(sources: Sequence[SourceBackfill], files: Sequence[FilesBackfill]) -> list[Part]:
    """Return the runs that bring the asked data into the raw tables, in their order."""
    return [_ingest(asked) for asked in files] + [part for asked in sources for part in _source(asked)]


def build_parts(full_refresh: bool, dashboards: bool) -> list[Part]:
    """Return the runs that bring the raw tables' data to the readers."""
    how = "build and test every model from the beginning" if full_refresh else "build and test the marts"
    parts = [Part(BUILD, {"full_refresh": full_refresh}, f"{how}, publish them as a set")]
    return [*parts, Part("publish/metabase", {}, "draw the dashboards")] if dashboards else parts


def _ingest(asked: FilesBackfill) -> Part:
    parameters = asked.model_dump(mode="json", exclude_none=True)
    which = asked.prefix or f"landing/{asked.dataset}/"
    when = "".join(f", {word} {day}" for word, day in (("since", asked.since), ("until", asked.until)) if day)
    also = {"nothing": "", "refused": ", refused ones again", "everything": ", loaded and refused ones again"}
    return Part(
        f"ingest-csv/{asked.dataset}",
        parameters,
        f"load what is missing of {which}{when}{also[asked.again]}",
        asked,
    )


def _source(asked: SourceBackfill) -> list[Part]:
    streams = {"streams": asked.streams} if asked.streams else {}
    words = ", ".join(asked.streams) or "every stream"
    window: dict[str, Any] = {} if asked.compare_days is None else {"window_days": asked.compare_days}
    within = f" within {asked.compare_days:g} days" if asked.compare_days is not None else ""
    compare = Part(
        f"reconcile/{asked.source}",
        {"source": asked.source, **streams, **window},
        f"compare {words} with the source{within}, repair what differs",
        asked,
    )
    if not asked.refresh:
        return [compare]
    refresh = Part(
        f"replicate/{asked.source}",
        {"source": asked.source, "refresh": True, **streams},
        f"read {words} anew as a whole, then replace the rows in the warehouse",
        asked,
    )
    return [refresh, compare]
