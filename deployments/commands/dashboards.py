"""`floe dashboards`: check the dashboard files against the marts, tell dbt of them, show them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from blocks.dashboard_formats import Format
from deployments.terminal import console

if TYPE_CHECKING:
    from blocks.dashboard_checks import CheckedCard
    from blocks.dashboard_pages import Query
    from blocks.metabase_plan import Change
    from blocks.metabase_settings import Drift
    from deployments.metabase import Instance

app = typer.Typer(no_args_is_help=True, help="Dashboards as code: deployments/dashboards/*.yaml.")

_SIGNS = {
    "create": "[green]+[/]",
    "update": "[yellow]~[/]",
    "restore": "[green]^[/]",
    "archive": "[red]-[/]",
    "keep": "[yellow]![/]",
    "none": " ",
}


ByHand = Annotated[
    Literal["refuse", "keep", "overwrite"],
    typer.Option("--drift", help="what somebody changed in Metabase: stop, leave it alone, or undo it"),
]
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
def plan(drift: ByHand = "refuse") -> None:
    """Show what `apply` would change in Metabase; nothing is changed."""
    changes = _instance(drift).plan()
    _show(changes)
    _summary(changes)


@app.command()
def apply(
    drift: ByHand = "refuse",
    secrets: Annotated[
        bool,
        typer.Option("--secrets", help="send the database's key or password again, after a change"),
    ] = False,
    project: Project = None,
) -> None:
    """Bring the dashboards into Metabase; a fresh one is set up first, the plan is shown before it is done.

    Every card is checked on the marts before anything is written.
    """
    from blocks.dashboard_checks import check_marts, require_no_problem
    from blocks.dashboard_exposures import marts_of
    from blocks.dbt import PROJECT

    instance = _instance(drift)
    failed = check_marts(instance.dashboards, marts_of(project or PROJECT))
    _print_problems(failed)
    if failed:
        console.print(f"{len(failed)} problem(s); nothing was written")
        raise typer.Exit(1)
    with _query() as query:
        require_no_problem(instance.dashboards, query)
    new_key = instance.settings.key(instance.home) is None
    _summary(instance.apply(_show, resend_secrets=secrets), done=True)
    if new_key:
        console.print("Next: floe blocks register, so that `publish` has the key")


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


@app.command()
def report(
    dashboard: Annotated[str, typer.Argument(help="Its key: the name of its file.")],
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.PDF,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The file; by default <dashboard>.<format> here.")
    ] = None,
) -> None:
    """Draw one dashboard as a file to send or print: HTML for mail programs, a picture, pages of A4."""
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dashboard_reports import dashboard_named, rendered, report_of
    from blocks.register import dashboards_of
    from blocks.settings import load_settings

    definition = dashboard_named(load_dashboards(DASHBOARDS), dashboard)
    with _query() as query:
        content = report_of(definition, query, dashboards_of(load_settings()).page(dashboard))
    file = output or Path(f"{dashboard}.{form}")
    drawn = rendered(content, form)
    unfinished = file.with_name(f".{file.name}.part")
    unfinished.write_bytes(drawn)
    unfinished.replace(file)
    console.print(f"{definition.title}, {len(drawn):,} bytes: {file}", soft_wrap=True, markup=False)


@app.command()
def export(folder: Annotated[Path, typer.Argument(file_okay=False, help="Made when missing.")]) -> None:
    """Write the dashboards in Metabase's own YAML representation, to review or to import elsewhere."""
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dashboard_representations import marts_database, write_representations
    from blocks.settings import load_settings

    written = write_representations(load_dashboards(DASHBOARDS), marts_database(load_settings()), folder)
    console.print(f"{len(written)} files in {folder}", soft_wrap=True, markup=False)


def _instance(drift: Drift) -> Instance:
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dbt import PROJECT
    from blocks.metabase_fields import marts_of_project
    from blocks.settings import load_settings
    from deployments.metabase import Instance, metabase_of

    settings = load_settings()
    return Instance(
        metabase_of(settings),
        settings.home,
        load_dashboards(DASHBOARDS),
        marts_of_project(PROJECT),
        drift,
    )


def _show(changes: list[Change]) -> None:
    for change in changes:
        if change.action == "none" and not change.note:
            continue
        note = f" [dim]({escape(change.note)})[/]" if change.note else ""
        console.print(f"{_SIGNS[change.action]} {change.kind} {escape(change.name)}{note}", soft_wrap=True)
        for detail in change.details:
            console.print(f"    {detail}", markup=False, soft_wrap=True)


def _summary(changes: list[Change], *, done: bool = False) -> None:
    count = sum(change.action not in ("none", "keep") for change in changes)
    by_hand = sum(change.by_hand for change in changes)
    words = f"{count} {'changed' if done else 'to change'}" if count else "Everything is as declared"
    console.print(f"{words}, {by_hand} changed in Metabase by hand" if by_hand else words)


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
