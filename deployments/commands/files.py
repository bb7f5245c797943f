"""`floe files`: contracts from samples, the state of every file, loading again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from blocks.errors import FloeError
from deployments.terminal import console

if TYPE_CHECKING:
    from lambda_csv_loader.load import Loader
    from lambda_csv_loader.object_store import ObjectRef
    from lambda_csv_loader.settings import LoaderSettings

app = typer.Typer(no_args_is_help=True, help="CSV files: contracts, state, loading again.")


@app.command()
def infer(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a sample of the dataset")],
    dataset: Annotated[str | None, typer.Option(help="its name; else made from the file's")] = None,
) -> None:
    """Print a proposal for a dataset's contract, to be read by a person and saved."""
    from lambda_csv_loader.infer import infer as propose

    typer.echo(propose(file, dataset), nl=False)


@app.command()
def status(
    dataset: Annotated[str | None, typer.Argument(help="one dataset; else all")] = None,
    every: Annotated[bool, typer.Option("--all", help="also list the files that are loaded")] = False,
) -> None:
    """Show what became of each file, and what waits in the queues."""
    from lambda_csv_loader.dead_letters import dead_letters
    from lambda_csv_loader.queues import Queues

    settings = _settings()
    queues = Queues(settings.object_store)
    depths = queues.depths()
    with closing(_loader(settings)) as loader:
        for name in [dataset] if dataset else loader.contracts.names():
            loader.contracts.get(name)
            _show(loader, name, every)
        declared = loader.contracts.names()
    console.print(f"Queue: {depths.visible} waiting, {depths.in_flight} in work, {depths.dead} dead letters")
    if depths.dead:
        dead = dead_letters(queues, settings.object_store.bucket, declared)
        console.print(f"Dead letters: {dead.in_words()}")
        console.print("Deliver dead letters again: floe files replay --dead-letters")


@app.command()
def replay(
    target: Annotated[str | None, typer.Argument(help="a file id, or a dataset (its refused files)")] = None,
    dead_letters: Annotated[bool, typer.Option("--dead-letters", help="deliver dead letters again")] = False,
) -> None:
    """Load files again after the file or its contract was mended; the ledger keeps the history."""
    from lambda_csv_loader import replay as again
    from lambda_csv_loader.queues import Queues

    if (target is None) != dead_letters:
        raise typer.BadParameter("name a file id or a dataset, or give --dead-letters")
    settings = _settings()
    if target is None:
        queues = Queues(settings.object_store)
        console.print(f"{queues.redrive()} messages moved back to the queue")
        if left := queues.depths().dead:
            # The count may be a minute late, too.
            console.print(f"SQS counts {left} more, which others may have in hand. Next: floe files status")
        return
    with closing(_loader(settings)) as loader:
        outcomes = again.replay(loader, target)
    if not outcomes:
        console.print(f"No file of {target} is quarantined")
    for ref, outcome in outcomes.items():
        if isinstance(outcome, FloeError):
            console.print(f"{ref.key}: not loaded: {outcome.what}", style="red", markup=False)
        else:
            why = f": {outcome.reason}" if outcome.reason else f", {outcome.rows:,} rows"
            console.print(f"{ref.key}: {outcome.status}{why}", markup=False)
    refused = any(isinstance(one, FloeError) or one.status == "quarantined" for one in outcomes.values())
    raise typer.Exit(1 if refused else 0)


def _settings() -> LoaderSettings:
    from blocks.settings import load_settings, loader_settings

    return loader_settings(load_settings())


def _loader(settings: LoaderSettings) -> Loader:
    from lambda_csv_loader.load import Loader

    return Loader.from_settings(settings)


def _show(loader: Loader, dataset: str, every: bool) -> None:
    from lambda_csv_loader.ledger import is_settled, loaded_contents, newest_uploads

    rows = loader.writer.ledger(dataset)
    known, contents = newest_uploads(rows), loaded_contents(rows)

    def is_waiting(ref: ObjectRef) -> bool:
        row = known.get((ref.key, ref.etag))
        return row is None or not is_settled(row, ref.last_modified, contents)

    found = loader.bucket.list(f"landing/{dataset}/")
    waiting = [ref.key for ref in found if not ref.key.endswith("/") and is_waiting(ref)]
    loaded = [row for row in rows if row.status == "loaded"]
    total = sum(row.rows_loaded for row in loaded)
    console.print(f"{dataset}: {len(loaded)} files loaded, {total:,} rows; {len(waiting)} waiting")
    table = Table(box=None, header_style="bold")
    for heading in ("file", "status", "rows", "file id", "why"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "rows" else "left")
    for row in sorted(rows, key=lambda row: row.key):
        if every or row.status in ("quarantined", "missing"):
            table.add_row(row.key, row.status, str(row.rows_loaded), row.file_id, row.reason or "")
    for key in waiting:
        table.add_row(key, "waiting", "", "", "neither event nor sweep came to it yet")
    if table.row_count:
        console.print(table)
