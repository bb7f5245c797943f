"""`floe backfill`: bring chosen data into the warehouse again."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

import typer

from deployments.terminal import console

NAME = None
app = typer.Typer()
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


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
        float | None, typer.Option(min=0, help="compare only rows at most so many days older than the newest")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(help="a dataset whose files to load; may be repeated")
    ] = None,
    prefix: Annotated[str | None, typer.Option(help="with one --dataset: only keys that begin so")] = None,
    since: Day = None,
    until: Day = None,
    again: Annotated[
        Literal["nothing", "refused", "everything"], typer.Option(help="also load these files again")
    ] = "nothing",
    build: Annotated[bool, typer.Option(help="build and publish the marts afterwards")] = True,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="build incremental models from the beginning")
    ] = False,
    plan: Annotated[bool, typer.Option("--plan", help="only show what would be done")] = False,
) -> None:
    """Read streams anew, load files again, compare with the sources; then build and publish the marts.

    --since and --until are the days (UTC) on which files were uploaded.
    """
    from blocks.backfill import FilesBackfill, SourceBackfill
    from deployments.local import stack

    if stream and len(source or []) != 1:
        raise typer.BadParameter("--stream needs exactly one --source")
    if prefix and len(dataset or []) != 1:
        raise typer.BadParameter("--prefix needs exactly one --dataset")
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
        "plan": plan,
    }
    stack.current().enter()
    # Prefect reads its settings when it is imported.
    from deployments.run import run_and_follow

    raise typer.Exit(0 if run_and_follow("backfill/manual", console, parameters) else 1)


def _day(moment: datetime | None) -> date | None:
    return moment.date() if moment else None
