"""`floe dashboards`: check the dashboard files against the marts, tell dbt of them, draw them now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from deployments.terminal import console

if TYPE_CHECKING:
    from blocks.dashboard_checks import CheckedCard
    from blocks.dashboard_pages import Query

app = typer.Typer(no_args_is_help=True, help="Dashboards as code: deployments/dashboards/*.yaml.")

Project = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, help="The dbt project of the marts; by default dbt/."),
]


@app.command()
def check(project: Project = None) -> None:
    """Resolve every card's SQL on the marts; exit 1 and name card and owner where one does not.

    dbt must know the marts, and its exposures must be those of the dashboards.
    """
    from blocks.dashboard_checks import check_dashboards, check_marts
    from blocks.dashboard_exposures import check_exposures, marts_of
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dbt import PROJECT

    dashboards = load_dashboards(DASHBOARDS)
    failed = check_marts(dashboards, marts_of(project or PROJECT))
    named = {(each.dashboard, each.card) for each in failed}
    with _query() as query:
        checked = check_dashboards(dashboards, query)
    failed += [each for each in checked if each.problem and (each.dashboard, each.card) not in named]
    _print_problems(failed)
    cards = sum(len(dashboard.questions) for dashboard in dashboards)
    console.print(f"{len(dashboards)} dashboards, {cards} cards, {len(failed)} problem(s)")
    check_exposures(dashboards, project or PROJECT)
    if failed:
        raise typer.Exit(1)


@app.command()
def exposures(project: Project = None) -> None:
    """Tell dbt which marts each dashboard reads: write its exposures.

    Where a card reads a mart that dbt does not have, nothing is written: dbt would refuse the project.
    """
    from blocks.dashboard_checks import check_marts
    from blocks.dashboard_exposures import exposures_file, exposures_text, marts_of
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dbt import PROJECT

    dashboards = load_dashboards(DASHBOARDS)
    failed = check_marts(dashboards, marts_of(project or PROJECT))
    _print_problems(failed)
    if failed:
        console.print(f"{len(failed)} problem(s); nothing was written")
        raise typer.Exit(1)
    file = exposures_file(project or PROJECT)
    file.write_text(exposures_text(dashboards), encoding="utf-8")
    console.print(f"{len(dashboards)} exposures in {file}", soft_wrap=True, markup=False)


@app.command()
def preview(
    folder: Annotated[
        Path | None, typer.Option(help="Where to write the pages; by default where `publish` writes them.")
    ] = None,
) -> None:
    """Draw the dashboards now, as pages that need no server, and print where they are."""
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dashboard_pages import render_pages
    from blocks.settings import load_settings

    dashboards = load_dashboards(DASHBOARDS)
    with _query() as query:
        pages = folder or load_settings().dashboards.pages or load_settings().home / "pages"
        rendered = render_pages(dashboards, query, pages)
    seconds = sum(card.seconds for card in rendered.cards)
    console.print(
        f"{len(rendered.pages)} dashboards, {len(rendered.cards)} cards, {seconds:.1f} s of queries"
    )
    console.print(str(rendered.index), soft_wrap=True)


def _print_problems(failed: list[CheckedCard]) -> None:
    for each in failed:
        where = f"[red]{each.dashboard} / {each.card}[/red] (owner {escape(each.owner)})"
        console.print(f"{where}: {escape(each.problem or '')}", soft_wrap=True)


@contextmanager
def _query() -> Iterator[Query]:
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.dashboard_pages import on_cursor
    from blocks.settings import load_settings
    from blocks.warehouse import Warehouse, unchanging

    with (
        Warehouse(target=load_settings().warehouse).connect(read_only=True) as cursor,
        unchanging(cursor),
    ):
        yield on_cursor(cursor)
