"""`floe backfill`: bring chosen data into the warehouse again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal

import typer

from deployments.terminal import console

NAME = None
app = typer.Typer()
DAY = ["%Y-%m-%d"]


@app.command()
def backfill(
    source: Annotated[list[str] | None, typer.Option(help="a source to read anew; may be repeated")] = None,
    stream: Annotated[
        list[str] | None, typer.Option(help="with one --source: only this stream; may be repeated")
    ] = None,
    compare_only: Annotated[
        bool, typer.Option("--compare-only", help="compare with the source and repair, read nothing anew")
    ] = False,
    compare_days: Annotated[
        float | None, typer.Option(min=1, help="compare only rows at most so many days older than the newest")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="a dataset whose files to load; may be repeated")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="with one --dataset: only keys that begin so")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=DAY, help="only files uploaded on this day (UTC) or later")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=DAY, help="only files uploaded on this day (UTC) or earlier")
    ] = None,
    again: Annotated[
        Literal["nothing", "refused", "everything"], typer.Option(help="also load these files again")
    ] = "nothing",
    build: Annotated[bool, typer.Option(help="build and publish the marts afterwards")] = True,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="build incremental models from the beginning")
    ] = False,
    dashboards: Annotated[bool, typer.Option(help="draw the dashboards after the build")] = True,
    plan: Annotated[bool, typer.Option("--plan", help="only show what would be done")] = False,
) -> None:
    """Read streams anew, load files again, compare with the sources; then build and publish the marts.

    --since and --until go by the day on which a file was uploaded; for a date in its name there is --prefix.
    """
    from blocks.backfill import FilesBackfill, SourceBackfill
    from deployments.local import stack

    if stream and len(source or []) != 1:
        raise typer.BadParameter("--stream needs exactly one --source")
    if prefix and len(dataset or []) != 1:
        raise typer.BadParameter("--prefix needs exactly one --dataset")
    about_files = {"--since": since, "--until": until, "--again": again != "nothing"}
    about_sources = {"--compare-days": compare_days, "--compare-only": compare_only}
    _refuse_without("--dataset", dataset, about_files)
    _refuse_without("--source", source, about_sources)
    sources = [
        SourceBackfill(source=name, streams=stream or [], refresh=not compare_only, compare_days=compare_days)
        for name in source or []
    ]
    files = [
        FilesBackfill(dataset=name, prefix=prefix, since=_day(since), until=_day(until), again=again)
        for name in dataset or []
    ]
    if not sources and not files:
        raise typer.BadParameter("name a --source or a --dataset")
    parameters = {
        "sources": [asked.model_dump(mode="json") for asked in sources],
        "files": [asked.model_dump(mode="json") for asked in files],
        "build": build,
        "full_refresh": full_refresh,
        "dashboards": dashboards,
        "plan": plan,
    }
    stack.reach_prefect()
    from deployments.run import run_and_follow

    raise typer.Exit(0 if run_and_follow("backfill/manual", console, parameters) else 1)


def _refuse_without(needed: str, named: list[str] | None, options: Mapping[str, object]) -> None:
    """Refuse options that would do nothing, since what they are about is not named."""
    given = [option for option, value in options.items() if value]
    if given and not named:
        raise typer.BadParameter(
            f"{', '.join(given)} would do nothing without a {needed}: add {needed} <name>, or leave it out"
        )


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
