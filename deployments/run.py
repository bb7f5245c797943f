"""Start a deployment's run and follow it to its end."""

from __future__ import annotations

import time
from typing import Any

from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from rich.console import Console

from blocks.errors import ConfigurationError
from deployments.prefect_objects import declared_deployments
from deployments.run_progress import follow, summarise


def run_and_follow(deployment: str, console: Console, parameters: dict[str, Any] | None = None) -> bool:
    """Run `flow/deployment`, show its progress, its summary and where to look.

    Args:
        deployment: e.g. `elt/daily`.
        console: where to print.
        parameters: of the flow, instead of the deployment's own.

    Returns:
        Whether the run completed.

    Raises:
        ConfigurationError: there is no such deployment.
    """
    started = time.monotonic()
    try:
        # A top-level run, whatever context we are in; the flow run is created here and now.
        run = run_deployment(
            deployment,
            # A run with parameters of its own is named by its flow.
            flow_run_name=None if parameters else deployment,
            parameters=parameters,
            timeout=0,
            as_subflow=False,
        )
    except ObjectNotFound:
        raise ConfigurationError(
            f"There is no deployment {deployment!r}; there are: {', '.join(declared_deployments())}",
            next_command="floe run <one of them>",
        ) from None
    ended = follow(run.id, console)  # type: ignore[union-attr]
    summarise(ended, console)
    completed = ended.state is not None and ended.state.is_completed()
    seconds = time.monotonic() - started
    own = ended.total_run_time.total_seconds()
    verdict = (
        "[green]Completed[/]" if completed else f"[red]{ended.state.name if ended.state else 'Unknown'}[/]"
    )
    console.print(f"\n{verdict} {ended.name}: {seconds:.0f} s, of which {own:.0f} s since the flow started")
    return completed
