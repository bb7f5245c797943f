"""What happened last, deployment by deployment, read from the Prefect server."""

from __future__ import annotations

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from rich.table import Table

from deployments.prefect_objects import declared_deployments


def deployments_table() -> Table:
    """Return a table of every declared deployment with its last run."""
    table = Table(title="Deployments", title_justify="left", box=None, header_style="bold")
    for column in ("deployment", "last run", "state", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    with get_client(sync_client=True) as client:
        for name in declared_deployments():
            try:
                deployment = client.read_deployment_by_name(name)
            except ObjectNotFound:
                table.add_row(name, "not deployed", "", "")
                continue
            last = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id])),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=1,
            )
            table.add_row(name, *(_cells(last[0]) if last else ("never", "", "")))
    return table


def _cells(run: FlowRun) -> tuple[str, str, str]:
    started = run.start_time or run.expected_start_time
    when = f"{started.astimezone():%Y-%m-%d %H:%M:%S}" if started else ""
    return when, (run.state.name or "") if run.state else "", f"{run.total_run_time.total_seconds():.0f}"
