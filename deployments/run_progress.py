"""A flow run followed from the terminal: bars from its progress artifacts, tables at its end.

Nothing here knows a table or a model: whatever a flow of the run publishes as a progress artifact
becomes a bar, and each of its table artifacts is printed when the run has ended.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterLevel,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import ArtifactSort, LogSort
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blocks.child_runs import child_runs
from blocks.server_pages import all_pages
from deployments.run_bars import Bar, RunBars

POLL_SECONDS = 1.0
# A look at hundreds of runs keeps the server busy, which they need themselves.
SHARE_OF_LOOKING = 0.2
ROWS_SHOWN = 10
# Of the same columns, like one of each source.
TABLES_SHOWN = 10
ERROR_LEVEL = 40


def follow(run_id: UUID, console: Console) -> FlowRun:
    """Show a run's progress until it has ended; return the ended run.

    On a terminal the bars move; elsewhere (a log file) each bar prints one line when it is full.
    """
    ended: set[UUID] = set()
    with get_client(sync_client=True) as client, RunBars(console) as bars:
        while True:
            started = time.monotonic()
            run = client.read_flow_run(run_id)
            bars.show(bars_of(client, [run, *descendants(client, run_id)], ended))
            if _is_final(run):
                return run
            looking = time.monotonic() - started
            time.sleep(max(POLL_SECONDS, looking / SHARE_OF_LOOKING))


def bars_of(client: SyncPrefectClient, family: Sequence[FlowRun], ended: set[UUID]) -> list[Bar]:
    """Return a bar for each run and for each progress artifact of those that had not ended at the last look.

    Args:
        client: of the Prefect server.
        family: the runs as they are now.
        ended: those that had ended at the last look, whose artifacts do not move any more; grows.
    """
    bars = []
    for run in family:
        name = (run.state.name if run.state else None) or "Scheduled"
        bars.append(
            Bar(
                str(run.id),
                f"[bold]{escape(run.name)}[/] {name.lower()}",
                100 if _is_final(run) else 0,
                failed=_is_final(run) and not (run.state and run.state.is_completed()),
                is_run=True,
            )
        )
    moving = [run for run in family if run.id not in ended]
    for artifact in _artifacts(client, moving, "progress"):
        text = escape(artifact.description or artifact.key)
        bars.append(Bar(str(artifact.id), f"  {text}", float(artifact.data)))
    ended |= {run.id for run in moving if _is_final(run)}
    return bars


def _is_final(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def summarise(run: FlowRun, console: Console) -> None:
    """Print the table artifacts of the run and its child runs, then the errors if it failed."""
    with get_client(sync_client=True) as client:
        family = [run, *descendants(client, run.id)]
        print_tables(_artifacts(client, family, "table"), console)
        if run.state is not None and not run.state.is_completed():
            for line in error_lines(client, family):
                console.print(line, style="red", markup=False, highlight=False)


def print_tables(artifacts: Iterable[Any], console: Console) -> None:
    """Print table artifacts; of those with the same columns, which are one of each source, only the first."""
    alike: Counter[tuple[str, ...]] = Counter()
    for artifact in artifacts:
        rows = json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
        if not rows:
            continue
        alike[tuple(rows[0])] += 1
        if alike[tuple(rows[0])] <= TABLES_SHOWN:
            console.print(f"\n[bold]{artifact.description or artifact.key}[/]")
            console.print(_table(rows))
    for columns, count in alike.items():
        if count > TABLES_SHOWN:
            more = count - TABLES_SHOWN
            console.print(f"\n... and {more} more tables of {', '.join(columns[:3])} in the Prefect UI")


def descendants(client: SyncPrefectClient, run_id: UUID) -> list[FlowRun]:
    """Return the flow runs that a run started, here or on other hosts, and theirs in turn."""
    found: list[FlowRun] = []
    parents = [run_id]
    while parents:
        children = child_runs(client, parents)
        found += children
        parents = [child.id for child in children]
    return found


def error_lines(client: SyncPrefectClient, family: Iterable[FlowRun]) -> list[str]:
    """Return the error messages of these runs: what their states say, and what they logged."""
    runs = list(family)
    logs = client.read_logs(
        log_filter=LogFilter(
            flow_run_id=LogFilterFlowRunId(any_=[run.id for run in runs]),
            level=LogFilterLevel(ge_=ERROR_LEVEL),
        ),
        limit=20,
        sort=LogSort.TIMESTAMP_ASC,
    )
    lines = [log.message.splitlines()[0] for log in logs if "Encountered exception" not in log.message]
    states = [f"{run.name}: {run.state.message}" for run in runs if run.state and run.state.is_failed()]
    return list(dict.fromkeys([*lines, *states]))


def _artifacts(client: SyncPrefectClient, runs: Iterable[FlowRun], kind: str) -> list[Any]:
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run.id for run in runs]),
        type=ArtifactFilterType(any_=[kind]),
    )
    found = all_pages(client.read_artifacts, artifact_filter=wanted, sort=ArtifactSort.ID_DESC)
    return sorted(found, key=lambda artifact: artifact.created)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(header_style="bold", box=None)
    for column, value in rows[0].items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(str(column), justify="right" if number else "left")
    for row in rows[:ROWS_SHOWN]:
        table.add_row(*(_cell(value) for value in row.values()))
    if len(rows) > ROWS_SHOWN:
        table.add_row(f"... and {len(rows) - ROWS_SHOWN} more rows in the Prefect UI")
    return table


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return f"{value:,}" if isinstance(value, int | float) else str(value)
