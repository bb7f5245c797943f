"""A flow run followed from the terminal: bars from its progress artifacts, tables at its end.

Nothing here knows a table or a model: whatever a flow of the run publishes as a progress artifact
becomes a bar, and each of its table artifacts is printed when the run has ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    LogFilter,
    LogFilterFlowRunId,
    LogFilterLevel,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import LogSort
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

POLL_SECONDS = 1.0
ROWS_SHOWN = 10
ERROR_LEVEL = 40


def follow(run_id: UUID, console: Console) -> FlowRun:
    """Show a run's progress until it has ended; return the ended run.

    On a terminal the bars move; elsewhere (a log file) each bar prints one line when it is full.
    """
    with get_client(sync_client=True) as client, _Bars(console) as bars:
        while True:
            run = client.read_flow_run(run_id)
            bars.show(run, descendants(client, run_id), client)
            if run.state is not None and run.state.is_final():
                return run
            time.sleep(POLL_SECONDS)


def summarise(run: FlowRun, console: Console) -> None:
    """Print every table artifact of the run and its child runs, then the errors if it failed."""
    with get_client(sync_client=True) as client:
        family = [run, *descendants(client, run.id)]
        for artifact in _artifacts(client, family, "table"):
            rows = json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
            if rows:
                console.print(f"\n[bold]{artifact.description or artifact.key}[/]")
                console.print(_table(rows))
        if run.state is not None and not run.state.is_completed():
            for line in error_lines(client, family):
                console.print(line, style="red", markup=False, highlight=False)


def descendants(client: SyncPrefectClient, run_id: UUID) -> list[FlowRun]:
    """Return the flow runs that a run started, here or on other hosts, and theirs in turn."""
    found: list[FlowRun] = []
    parents = [run_id]
    while parents:
        children = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=parents))
        )
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
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id for run in runs]),
            type=ArtifactFilterType(any_=[kind]),
        )
    )
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


class _Bars:
    """One bar for each progress artifact and one line for each flow run without any."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.fields[mark]}"),
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=console,
            transient=False,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._printed: set[str] = set()

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, run: FlowRun, children: list[FlowRun], client: SyncPrefectClient) -> None:
        for child in [run, *children]:
            state = child.state
            name = (state.name if state else None) or "Scheduled"
            done = bool(state and state.is_final())
            mark = (
                "[red]✗" if done and not (state and state.is_completed()) else ("[green]✓" if done else "•")
            )
            self._bar(str(child.id), f"[bold]{child.name}[/] {name.lower()}", 100 if done else 0, mark)
        for artifact in _artifacts(client, [run, *children], "progress"):
            percent = float(artifact.data)
            text = artifact.description or artifact.key
            self._bar(str(artifact.id), f"  {text}", percent, "[green]✓" if percent >= 100 else " ")

    def _bar(self, key: str, text: str, percent: float, mark: str) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(text, total=100, mark=mark)
        self._progress.update(self._tasks[key], completed=percent, description=text, mark=mark)
        if self._progress.disable and percent >= 100 and key not in self._printed:
            self._printed.add(key)
            self._console.print(text)
