"""The command `floe`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from blocks.errors import ConfigurationError, FloeError
from deployments.terminal import console, errors

if TYPE_CHECKING:
    from deployments.local.stack import Stack

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Several PostgreSQL databases and a bucket of CSV files in one tested warehouse.",
)

Scale = Annotated[
    float, typer.Option(min=0.01, max=1, help="size of the sample company (TPC-DS scale factor)")
]


@app.command()
def demo(
    scale: Scale = 0.01,
    once: Annotated[bool, typer.Option("--once", help="end after the run, with its status")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="throw the existing sample away first")] = False,
) -> None:
    """Run the whole thing on this machine: sample, servers, the main job, where to look."""
    from deployments.local import demo as local_demo

    raise typer.Exit(local_demo.run(console, scale=scale, once=once, fresh=fresh))


@app.command()
def up(scale: Scale = 0.01) -> None:
    """Start every server and worker of the laptop stack, and leave them running."""
    from deployments.local import bring_up

    stack = bring_up.everything(console, scale)
    bring_up.where_to_look(console, stack)


@app.command()
def down() -> None:
    """Stop everything that `floe up` started."""
    from deployments.local import stack

    console.print("Stopped" if stack.down(console.print) else "Nothing was running")


@app.command()
def status() -> None:
    """Show what runs, how the last run of each deployment ended, and how fresh and whole the data is."""
    from blocks.settings import on_laptop
    from deployments.local import stack

    if on_laptop():
        running = stack.current()
        console.print(_services_table(running))
        # Prefect reads its settings when it is imported.
        running.enter()
    else:
        stack.reach_prefect()
    from blocks.settings import load_settings
    from deployments.connection import load_declarations
    from deployments.data_status import data_table
    from deployments.status import deployments_table

    console.print(deployments_table())
    console.print(data_table(load_settings(), load_declarations()))


def _services_table(running: Stack) -> Table:
    states = running.supervisor.states()
    table = Table(title="Services", title_justify="left", box=None, header_style="bold")
    for column in ("service", "state", "since", "where"):
        table.add_column(column)
    for service in running.services:
        info = states[service.name]
        since = info["description"].partition("uptime ")[2]
        table.add_row(service.name, info["statename"].lower(), since, service.url or "")
    return table


@app.command()
def run(deployment: Annotated[str, typer.Argument(help="flow/deployment")] = "elt/daily") -> None:
    """Run a deployment through Prefect, show its progress and its summary; exit 1 when it fails."""
    from deployments.local import stack

    stack.reach_prefect()
    from deployments.run import run_and_follow

    raise typer.Exit(0 if run_and_follow(deployment, console) else 1)


@app.command()
def deploy() -> None:
    """Make the Prefect server's pools, limits, deployments, automations and alerts the declared ones."""
    from deployments.local import stack

    stack.reach_prefect()
    from blocks.settings import load_settings
    from deployments import prefect_objects
    from deployments.deployment_check import check_deployments

    check_deployments()
    alerts = load_settings().alerts
    console.print(f"Deployments: {'deployed' if prefect_objects.deploy() else 'as declared'}")
    console.print(f"Automations: {', '.join(prefect_objects.automate(alerts)) or 'as declared'}")


@app.command()
def simulate(
    days: Annotated[int, typer.Option(min=1, help="business days to play")] = 1,
    seed: Annotated[int, typer.Option(help="the same seed on the same state gives the same days")] = 1,
    rare: Annotated[
        bool, typer.Option("--rare", help="also rows deleted, changes committed days late, other promotions")
    ] = False,
) -> None:
    """Play the days that follow in the sample company; every change goes to its event log."""
    from deployments.local import sample_company, stack

    sample_company.play(stack.current(), days, seed, console, rare=rare)


@app.command()
def logs(
    service: Annotated[
        str | None, typer.Argument(help="a service of `floe status`; all when left out")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep printing")] = False,
    lines: Annotated[int, typer.Option(min=1, help="lines to start with")] = 50,
) -> None:
    """Print the log files of the laptop stack's services."""
    from blocks.settings import on_laptop
    from deployments.local.home import Home

    if not on_laptop():
        raise ConfigurationError(
            f"{service or 'What runs'} keeps no log file here: on a host it prints to whatever started it",
            next_command="on that host: journalctl -u <its unit>, docker compose logs metabase; "
            "of a run: prefect flow-run logs <id>",
        )
    folder = Home.open().logs
    files = sorted(folder.glob(f"{service or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise typer.BadParameter(f"no log of {service!r}; there are: {known}")
    options = ["-n", str(lines), *(["-f"] if follow else [])]
    raise typer.Exit(subprocess.run(["tail", *options, *map(str, files)], check=False).returncode)


@app.command()
def sql(
    command: Annotated[str | None, typer.Option("--command", "-c", help="run this and exit")] = None,
) -> None:
    """Open a read-only SQL shell on the warehouse; it neither blocks nor disturbs the pipeline."""
    from deployments.sql_shell import shell

    raise typer.Exit(shell(command, console))


def _add_groups() -> None:
    """Mount each command group that stands in `deployments/commands/`."""
    for file in sorted((Path(__file__).parent / "commands").glob("[a-z]*.py")):
        group = import_module(f"deployments.commands.{file.stem}")
        # A room without a name of its own adds its commands beside the groups.
        app.add_typer(group.app, name=getattr(group, "NAME", file.stem))


def main() -> None:
    """Run the command line; a failure that Floe foresees is printed without a traceback."""
    _add_groups()
    try:
        app()
    except FloeError as error:
        errors.print(f"[red]Error:[/] {escape(str(error))}", markup=True)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("Interrupted")
        sys.exit(130)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
