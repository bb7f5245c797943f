"""The whole laptop stack, in order: servers, sample, connections, Prefect's objects, workers."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from rich.console import Console

from blocks.settings import ROOT, load_settings
from deployments.local import sample_company
from deployments.local import stack as local_stack
from deployments.local.stack import Stack


def everything(console: Console, scale: float) -> Stack:
    """Start all that `elt/daily` needs; what is there already is left as it is.

    Args:
        console: one line per thing done.
        scale: of the sample company, when it has to be generated.
    """
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {text}")

    stack = local_stack.up(say)
    stack.enter()
    sample_company.ensure(stack, scale, say)
    _declare(say)
    local_stack.start_workers(stack, say)
    _let_prefect_cli_find(stack)
    return stack


def where_to_look(console: Console, stack: Stack) -> None:
    """Print the pages and commands that a person goes to next."""
    floe = "floe" if shutil.which("floe") else os.path.relpath(Path(sys.executable).with_name("floe"))
    urls = {service.name: service.url for service in stack.services if service.url}
    console.print(f"\n[bold]Prefect UI[/]  {urls['prefect']}")
    console.print(f"[bold]Dashboards[/]  {urls['dashboards']}")
    console.print(f"[bold]SQL shell[/]   {floe} sql")


def _declare(say: local_stack.Say) -> None:
    """Make Airbyte's connections, the blocks and the deployments what the files declare."""
    from blocks.register import blocks_of, register
    from deployments import prefect_objects, provision
    from deployments.connection import load_declarations
    from deployments.deployment_check import check_deployments

    check_deployments()
    settings, declarations = load_settings(), load_declarations()
    applied = provision.apply(declarations, settings, provision.server_block(settings))
    made = [f"{change.kind} {change.name}" for change in applied.changes if change.action != "none"]
    say(f"Airbyte: {f'{len(made)} made or changed' if made else 'as declared'}")
    connections = provision.connection_blocks(declarations, settings, applied.connection_ids)
    saved = [
        found.name
        for found in register({**blocks_of(settings), **connections})
        if found.change != "unchanged"
    ]
    say(f"Blocks: {'saved ' + ', '.join(saved) if saved else 'as declared'}")
    say(f"Deployments: {'deployed' if prefect_objects.deploy() else 'as declared'}")
    say(f"Automations: {', '.join(prefect_objects.automate(settings.alerts)) or 'as declared'}")


def _let_prefect_cli_find(stack: Stack) -> None:
    """Write prefect.toml into the clone, so that a plain `prefect ...` there reaches this stack."""
    from deployments.automations import HEARTBEAT_SECONDS

    if stack.home.root == ROOT / ".floe":
        api = stack.environment()["PREFECT_API_URL"]
        # Flows that somebody starts there by hand must not seem silent either.
        beats = f"[flows]\nheartbeat_frequency = {HEARTBEAT_SECONDS}\n"
        (ROOT / "prefect.toml").write_text(f'# Written by floe up.\n[api]\nurl = "{api}"\n\n{beats}')
