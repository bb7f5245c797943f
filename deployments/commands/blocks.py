"""`floe blocks`: save Prefect's blocks from the settings, or show where the saved ones differ."""

from __future__ import annotations

import typer

from deployments.terminal import console

app = typer.Typer(no_args_is_help=True, help="Prefect blocks, saved from the settings.")


@app.command("register")
def register_blocks() -> None:
    """Save every block whose fields differ from the settings; delete receivers that they no longer name."""
    _print(check=False)


@app.command()
def check() -> None:
    """Name the blocks that differ from the settings; exit 1 when there are any."""
    if _print(check=True):
        raise typer.Exit(1)


def _print(*, check: bool) -> int:
    from deployments.local.stack import reach_prefect

    reach_prefect()
    from blocks.register import blocks_of, delete_undeclared, register
    from blocks.settings import load_settings

    blocks = blocks_of(load_settings())
    found = [*register(blocks, check=check), *delete_undeclared(blocks, check=check)]
    for registration in found:
        console.print(f"{registration.name}: {registration.change}")
    return sum(registration.change != "unchanged" for registration in found)
