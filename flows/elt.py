"""The daily parent flow `elt`: replicate and ingest side by side, transform, publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

from blocks.errors import PermanentError
from flows.ingest_csv import ingest_csv
from flows.transform import transform

POLL_SECONDS = 1


class RunFailed(PermanentError):
    """A flow run that `elt` started on another host did not complete."""


def _run_name() -> str:
    return f"elt of {flow_run.get_scheduled_start_time():%Y-%m-%d %H:%M}"


@flow(name="elt", flow_run_name=_run_name)
def elt(sources: list[str], datasets: list[str], dashboards: bool = True) -> None:
    """Bring every source and file into the warehouse, build and test the marts, publish them.

    Replications run side by side on their own work pool; files and dbt run here, since their host
    is this one; the dashboards are made on theirs. A step that fails ends the run: what came
    before it stays, what comes after it is not started, and readers keep the last good marts.

    Args:
        sources: the databases to replicate, by the names of their connections
        datasets: the CSV datasets to load
        dashboards: update the dashboards at the end

    Raises:
        RunFailed: a run on another host did not complete.
    """
    clock = _Clock()
    replications = [run_elsewhere.submit(f"replicate/{source}", {"source": source}) for source in sources]
    for dataset in datasets:
        clock.measure(f"ingest {dataset}", partial(ingest_csv, dataset=dataset))
    clock.measure("replicate (beyond ingest)", lambda: [future.result() for future in replications])
    clock.measure("transform", transform)
    if dashboards:
        clock.measure("publish dashboards", partial(run_elsewhere, "publish/metabase", {}))
    create_table_artifact(key="elt-timing", description="How the time divides", table=clock.rows)


@task(name="run elsewhere", task_run_name="{deployment}")
def run_elsewhere(deployment: str, parameters: dict[str, Any]) -> str:
    """Start a deployment on its own work pool and wait for its end.

    Args:
        deployment: `flow/deployment`.
        parameters: of the flow.

    Returns:
        The name of the flow run.

    Raises:
        RunFailed: the run did not complete; its message is in ours.
    """
    run = cast(
        FlowRun,
        run_deployment(
            deployment, flow_run_name=deployment, parameters=parameters, poll_interval=POLL_SECONDS
        ),
    )
    if run.state is None or not run.state.is_completed():
        ended = f"{run.state.name}: {run.state.message}" if run.state else "without a state"
        raise RunFailed(
            f"{deployment} ended {ended}",
            state="the steps after it were not started",
            next_command=f"prefect flow-run logs {run.id}",
        )
    return run.name


class _Clock:
    """Measures the steps of a run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def measure(self, step: str, work: Callable[[], object]) -> None:
        started = time.monotonic()
        work()
        self.rows.append({"step": step, "seconds": round(time.monotonic() - started, 1)})
