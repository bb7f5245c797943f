"""What happened last, deployment by deployment, read from the Prefect server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from rich.table import Table

from blocks.own_deployments import all_deployments, named
from deployments.prefect_objects import declared_deployments

# With more deployments of a flow than these, one line is for all whose last run completed, and one for those
# that were never run, like the reconciliations, which elt does itself.
FEW = 20


class LastRun(NamedTuple):
    """How the last run of a deployment ended, as it is shown."""

    deployment: str
    when: str
    state: str
    seconds: str


def deployments_table() -> Table:
    """Return a table of every declared deployment with its last run."""
    table = Table(title="Deployments", title_justify="left", box=None, header_style="bold")
    for column in ("deployment", "last run", "state", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    with get_client(sync_client=True) as client:
        there = dict(named(client, all_deployments(client)))
        last_runs = [_last_run(client, name, there.get(name)) for name in declared_deployments()]
    for row in few(last_runs):
        table.add_row(*row)
    return table


def few(last_runs: Iterable[LastRun]) -> Iterator[LastRun]:
    """Yield the rows as they are; where many of one flow have completed or never run, one row for these.

    Args:
        last_runs: of every deployment.
    """
    flows: dict[str, list[LastRun]] = {}
    for row in last_runs:
        flows.setdefault(row.deployment.split("/")[0], []).append(row)
    for flow, rows in flows.items():
        completed = [row for row in rows if row.state == "Completed"]
        never = [row for row in rows if row.when == "never"]
        many = [row for alike in (completed, never) if len(alike) > FEW for row in alike]
        yield from (row for row in rows if row not in many)
        if len(completed) > FEW:
            oldest, longest = min(row.when for row in completed), max(int(row.seconds) for row in completed)
            yield LastRun(
                f"{flow}: {len(completed)} deployments", f"{oldest} or later", "Completed", f"up to {longest}"
            )
        if len(never) > FEW:
            yield LastRun(f"{flow}: {len(never)} deployments", "never", "", "")


def _last_run(client: SyncPrefectClient, name: str, deployment: DeploymentResponse | None) -> LastRun:
    if deployment is None:
        return LastRun(name, "not deployed", "", "")
    last = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return LastRun(name, *_cells(last[0])) if last else LastRun(name, "never", "", "")


def _cells(run: FlowRun) -> tuple[str, str, str]:
    started = run.start_time or run.expected_start_time
    when = f"{started.astimezone():%Y-%m-%d %H:%M:%S}" if started else ""
    return when, (run.state.name or "") if run.state else "", f"{run.total_run_time.total_seconds():.0f}"
