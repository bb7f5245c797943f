"""`floe marts`: what is published, and the way back."""

from __future__ import annotations

import typer

from deployments.terminal import console

app = typer.Typer(no_args_is_help=True, help="The published set of marts.")


@app.command()
def rollback() -> None:
    """Let readers see the set published before the current one, all marts at once.

    Build tables and history stay as they are; the next transform publishes the newest state again.
    """
    from blocks.settings import load_settings
    from blocks.warehouse import Warehouse

    with Warehouse(target=load_settings().warehouse).publisher() as publisher:
        earlier = publisher.rollback()
    console.print(
        f"Readers see the set published at {earlier.published_at:%Y-%m-%d %H:%M:%S} UTC again"
        f" ({len(earlier.models)} marts). History is unchanged; the next floe run publishes the newest state."
    )
