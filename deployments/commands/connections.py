"""`floe connections`: the declared connections against the Airbyte server and the databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from deployments.terminal import console, errors

if TYPE_CHECKING:
    from blocks.airbyte import AirbyteServer
    from blocks.settings import Settings
    from deployments.connection import ConnectionDeclaration
    from deployments.provision import Change

app = typer.Typer(no_args_is_help=True, help="Airbyte connections, from deployments/connections.")
_SIGNS = {"create": "[green]+[/]", "update": "[yellow]~[/]", "delete": "[red]-[/]", "none": " "}
_LEVELS = {"good": "[green]✓[/]", "notice": "[yellow]![/]", "bad": "[red]✗[/]"}
# With more than these, what is as it should be is only counted.
FEW = 20
Prune = Annotated[
    bool, typer.Option("--prune", help="delete what the workspace has and no file declares, and its blocks")
]


@app.command()
def plan(prune: Prune = False) -> None:
    """Show what `apply` would change on the Airbyte server; nothing is changed."""
    declarations, settings, server = _inputs()
    from deployments import provision

    show(provision.plan(declarations, settings, server, prune=prune))


@app.command()
def apply(
    secrets: Annotated[
        bool, typer.Option("--secrets", help="send the passwords again, after they were changed")
    ] = False,
    prune: Prune = False,
) -> None:
    """Create and update the declared connections, and save their Prefect blocks."""
    declarations, settings, server = _inputs()
    from blocks.register import delete_others, register
    from deployments import provision

    done = provision.apply(declarations, settings, server, resend_secrets=secrets, prune=prune)
    show(done.changes)
    blocks = provision.connection_blocks(declarations, settings, done.connection_ids)
    registered = [*register(blocks), *(delete_others(blocks) if prune else [])]
    unchanged = sum(saved.change == "unchanged" for saved in registered)
    for saved in registered:
        if saved.change != "unchanged" or unchanged <= FEW:
            console.print(f"block {saved.name}: {saved.change}")
    if unchanged > FEW:
        console.print(f"{unchanged} blocks: unchanged")


@app.command()
def discover(
    url: Annotated[
        str,
        typer.Argument(help="postgresql://user@host/database; its password best in PGPASSWORD, ~/.pgpass"),
    ],
    name: Annotated[str | None, typer.Option(help="of the connection; else made from the database's")] = None,
    schema: Annotated[
        list[str] | None, typer.Option(help="look only here; may be given several times")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the file; else deployments/connections/<name>.yaml")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Write a connection file for any PostgreSQL database, from its catalog; no row is read."""
    from deployments import discover as discovering
    from deployments.connection import FOLDER
    from deployments.discovery.address import Address
    from deployments.discovery.table import discovery_table

    address = Address.parse(url)
    if address.has_password:
        errors.print("The URL holds a password, and your shell remembers it: better PGPASSWORD or ~/.pgpass")
    found = discovering.discover(address, name=name, schemas=schema)
    file = output or FOLDER / f"{found.source}.yaml"
    discovering.write(found, file, force=force)
    console.print(discovery_table(found.proposal))
    streams, left_out = len(found.proposal.streams), len(found.proposal.left_out)
    console.print(f"Wrote {file}: {streams} streams, {left_out} left out", markup=False)
    variables = f"FLOE_SOURCES__{found.source.upper()}__HOST, __PORT, __DATABASE, __USER, __PASSWORD"
    console.print(f"Next: read it, set {variables}, then floe connections plan", markup=False)


@app.command()
def check(
    accept: Annotated[
        bool, typer.Option("--accept", help="take the sources' tables as they are now for the known ones")
    ] = False,
) -> None:
    """Check the Airbyte server, the connections and the databases; exit 1 where something is wrong."""
    declarations, settings, server = _inputs()
    from deployments.connection_check import check as findings

    bad = 0
    alike: Counter[tuple[str, str]] = Counter()
    for finding in findings(declarations, settings, server, accept=accept):
        bad += finding.level == "bad"
        alike[finding.level, finding.words] += 1
        if finding.level == "bad" or alike[finding.level, finding.words] <= FEW:
            console.print(f"{_LEVELS[finding.level]} {escape(finding.subject)}: {escape(finding.words)}")
    for (level, words), count in alike.items():
        if level != "bad" and count > FEW:
            console.print(f"{_LEVELS[level]} and {count - FEW} more: {escape(words)}")
    console.print(f"{bad} wrong" if bad else "Everything is well")
    raise typer.Exit(1 if bad else 0)


def _inputs() -> tuple[list[ConnectionDeclaration], Settings, AirbyteServer]:
    from deployments.local.stack import enter_if_running

    enter_if_running()
    from blocks.settings import load_settings
    from deployments.connection import load_declarations
    from deployments.provision import server_block

    settings = load_settings()
    return load_declarations(), settings, server_block(settings)


def show(changes: Sequence[Change]) -> None:
    """Print what is to be changed, or was; where much is as declared, only how much."""
    as_declared = sum(_is_as_declared(change) for change in changes)
    for change in changes:
        if as_declared > FEW and _is_as_declared(change):
            continue
        note = f" [dim]({escape(change.note)})[/]" if change.note else ""
        console.print(f"{_SIGNS[change.action]} {change.kind} {escape(change.name)}{note}")
        for detail in change.details:
            console.print(f"    {detail}", markup=False)
    if as_declared > FEW:
        console.print(f"{_SIGNS['none']} {as_declared} as declared")
    count = sum(change.action != "none" for change in changes)
    console.print(f"{count} to change" if count else "Everything is as declared")


def _is_as_declared(change: Change) -> bool:
    return change.action == "none" and not change.note.startswith("not declared")
