"""`floe marts`: what is published, how a build differs from it, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from deployments.terminal import console

if TYPE_CHECKING:
    from blocks.mart_differences import MartComparison, MartDifferences

app = typer.Typer(no_args_is_help=True, help="The published set of marts.")
_Prefix = Annotated[
    str, typer.Option(envvar="FLOE_DBT_SCHEMA_PREFIX", help="of the developer's schemas: ada for ada_build")
]


@app.command()
def rollback() -> None:
    """Let readers see the set published before the current one, all marts at once.

    Build tables and history stay as they are; the next transform publishes the newest state again.
    """
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.settings import load_settings
    from blocks.warehouse import Warehouse

    with Warehouse(target=load_settings().warehouse).publisher() as publisher:
        earlier = publisher.rollback()
    console.print(
        f"Readers see the set published at {earlier.published_at:%Y-%m-%d %H:%M:%S} UTC again"
        f" ({len(earlier.models)} marts). History is unchanged; the next floe run publishes the newest state."
        "\nNext: floe run publish/metabase, so that the dashboards show that set too"
    )


@app.command()
def docs(
    folder: Annotated[
        Path | None, typer.Option(help="where to write the page; by default beside the dashboards' pages")
    ] = None,
) -> None:
    """Write dbt's documentation of every table and column, with their lineage, as one page."""
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.dashboard_pages import DOCUMENTATION
    from blocks.dbt import DbtProject
    from blocks.settings import load_settings
    from blocks.warehouse import Warehouse

    settings = load_settings()
    pages = settings.dashboards
    page = (folder or pages.pages or settings.home / "pages") / DOCUMENTATION
    project = DbtProject(
        warehouse=Warehouse(target=settings.warehouse), output=settings.home / "dbt-documentation"
    )
    project.document(page)
    served = folder is None and pages.pages is not None and pages.url is not None
    console.print(f"{pages.url}/{DOCUMENTATION}" if served else str(page), soft_wrap=True)


@app.command()
def build(prefix: _Prefix = "") -> None:
    """Build the models that you changed and what depends on them, in schemas of your own.

    What differs from the last publication is built; everything else is read where that publication was built.
    """
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.dbt import DbtProject
    from blocks.dbt_events import NodeEvent
    from blocks.settings import load_settings
    from blocks.slim_build import slim_build
    from blocks.warehouse import Warehouse

    def told(event: NodeEvent) -> None:
        if event.status != "running":
            console.print(event.message, markup=False, highlight=False)

    settings = load_settings()
    project = DbtProject(
        warehouse=Warehouse(target=settings.warehouse),
        output=settings.home / "dbt-slim",
        schema_prefix=prefix,
    )
    result = slim_build(settings.object_store, project, told)
    models = result.count("success", kinds=("model",))
    then = f"\nNext: floe marts diff --prefix {prefix}" if models else ": none differs from what is published"
    console.print(f"{models} models built in the schemas {prefix}_*{then}")


@app.command()
def diff(
    models: Annotated[
        list[str] | None, typer.Argument(help="marts to compare; all when none is named")
    ] = None,
    prefix: _Prefix = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="write every row that differs into this folder, as CSV"),
    ] = None,
) -> None:
    """Compare built marts with the published ones, row by row: what readers would see change.

    After a failed build these are the marts as far as it came; the next run starts from the published ones.
    """
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.dbt import PROJECT
    from blocks.errors import ConfigurationError
    from blocks.mart_differences import MartComparison, MartMissing, grains
    from blocks.publication import BUILD
    from blocks.settings import load_settings
    from blocks.warehouse import Warehouse, unchanging

    keys = grains(PROJECT)
    if unknown := [model for model in models or [] if model not in keys]:
        raise ConfigurationError(
            f"dbt has no mart {', '.join(unknown)}; it has {', '.join(sorted(keys))}",
            next_command="floe marts diff with one of these names",
        )
    schema = f"{prefix}_{BUILD}" if prefix else BUILD
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    table = Table("mart", "rows", "built", "added", "removed", "changed", "what", box=None)
    with Warehouse(target=load_settings().warehouse).connect(read_only=True) as cursor, unchanging(cursor):
        for model in models or sorted(keys):
            try:
                comparison = MartComparison(cursor, model, keys[model], schema)
            except MartMissing as missing:
                if models:
                    raise
                table.add_row(model, *[""] * 5, missing.what)
                continue
            found = comparison.differences()
            table.add_row(*_row(found))
            if output is not None and not found.is_same:
                _write(comparison, output / f"{model}.csv")
    console.print(table)


def _write(comparison: MartComparison, file: Path) -> None:
    for number, rows in enumerate(comparison.rows()):
        rows.to_csv(file, index=False, mode="a" if number else "w", header=not number)


def _row(found: MartDifferences) -> list[str]:
    counts = (found.published_rows, found.built_rows, found.added, found.removed, found.changed)
    what = [
        f"{name}: {count:,}" for name, count in sorted(found.changed_values.items(), key=lambda one: -one[1])
    ]
    what += [f"new column {name}" for name in found.new_columns]
    what += [f"column {name} is gone" for name in found.gone_columns]
    what += [f"{name} was {before} and is {now}" for name, (before, now) in found.retyped.items()]
    return [found.model, *(f"{count:,}" for count in counts), "; ".join(what) or "same"]
