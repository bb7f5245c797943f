"""`floe metrics`: the endpoint that Prometheus scrapes."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.terminal import console

NAME = None
app = typer.Typer()
PORT = 9464


@app.command()
def metrics(
    host: Annotated[
        str, typer.Option(help="address to listen on; nothing asks for a password")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = PORT,
) -> None:
    """Serve run durations, rows, freshness, failures and queues for Prometheus, until interrupted."""
    from deployments.local import stack

    stack.reach_prefect()
    from blocks.settings import load_settings
    from deployments.connection import load_declarations
    from deployments.metrics.server import serve

    endpoint = serve(load_settings(), load_declarations(), host, port)
    console.print(f"Metrics on {endpoint.url}")
    try:
        endpoint.thread.join()
    finally:
        endpoint.close()
