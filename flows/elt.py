"""The daily parent flow `elt`: replicate and ingest side by side, reconcile, transform, publish."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from blocks.errors import FloeError
from flows.attached_runs import ended_run
from flows.called_flows import as_ours
from flows.crashes import refuse_after_crashes
from flows.dead_letters import refuse_strays
from flows.ingest_csv import ingest_csv
from flows.latest_only import skipped_for_newer
from flows.reconcile import reconcile
from flows.retries import by_class
from flows.runs_elsewhere import RunFailed, RunNotCompleted, require_completed, require_deployments
from flows.schedules import JitterSeconds, wait_for_jitter
from flows.step_times import StepTimes
from flows.transform import transform

# Of the replications that failed, so many are named in the error.
NAMED = 3
# With more sources than these, the table of times has one row for all their reconciliations.
FEW = 5


def _run_name() -> str:
    return f"elt of {flow_run.get_scheduled_start_time():%Y-%m-%d %H:%M}"


# Results are kept, so that a run which is started again goes on where it stood.
@flow(name="elt", flow_run_name=_run_name, persist_result=True)
def elt(
    sources: list[str],
    datasets: list[str],
    dashboards: bool = True,
    at_once: Annotated[int, Field(ge=1)] = 16,
    jitter_seconds: JitterSeconds = 0,
) -> State | None:
    """Bring every source and file into the warehouse, build and test the marts, publish them.

    Replications run side by side on their own work pool; files, reconciliations and dbt run here, since
    their host is this one; the dashboards are made on theirs. A step that fails ends the run: what came
    before it stays, what comes after it is not started, and readers keep the last good marts. A replication
    that fails keeps no other from being done.
    Retrying the run (in the UI, or by the server after a crash) does only what was not completed, and of a
    build whose nodes failed only what was left. Of several scheduled runs that are due at once, the latest
    works and the others end as Skipped.

    Args:
        sources: the databases to replicate and reconcile, by the names of their connections
        datasets: the CSV datasets to load
        dashboards: update the dashboards at the end
        at_once: replications that are asked for at a time; their pool's workers may take fewer
        jitter_seconds: a run of a schedule waits so long at most before it begins

    Raises:
        ConfigurationError: a source or the publishing has no deployment.
        RunFailed: runs on another host failed.
        RunNotCompleted: a run on another host was cancelled.
        RunCrashed: a run on another host crashed each time it was tried.
        CrashedTooOften: this run crashed in each of its last starts.
        StrayDeadLetters: all is done, and messages were given up that tell of no file of `datasets`.
    """
    refuse_after_crashes("floe logs worker-dbt-host, then floe run")
    if (skipped := skipped_for_newer()) is not None:
        return skipped
    wait_for_jitter(jitter_seconds)
    times = StepTimes("elt-timing")
    # All at once, most would wait for a slot, be told of as late, and each be looked at every second.
    runner: ThreadPoolTaskRunner[str] = ThreadPoolTaskRunner(max_workers=at_once)
    with runner as replicating:
        replications = [_replication(replicating, source) for source in sources]
        for dataset in datasets:
            times.measure(f"ingest {dataset}", partial(as_ours, ingest_csv, dataset=dataset))
        times.measure("replicate (beyond ingest)", partial(_let_all_end, replications))
    for source in sources:
        # Of many, one row: what comes after them is to be seen too.
        step = f"reconcile {source}" if len(sources) <= FEW else f"reconcile {len(sources)} sources"
        times.measure(step, partial(as_ours, reconcile, source=source, only_when_due=True))
    times.measure("transform", partial(as_ours, transform))
    if dashboards:
        times.measure("publish dashboards", partial(run_elsewhere, "publish/metabase", {}))
    times.show("How the time divides")
    if datasets:
        # Last: what is of none of them keeps no mart from its readers.
        refuse_strays(datasets)
    return None


@task(name="run elsewhere", task_run_name="{deployment}", **by_class())
def run_elsewhere(deployment: str, parameters: dict[str, Any]) -> str:
    """Run a deployment on its own work pool, or wait for the run that an interrupted try has started.

    Args:
        deployment: `flow/deployment`.
        parameters: of the flow.

    Returns:
        The name of the flow run.

    Raises:
        ConfigurationError: there is no such deployment.
        RunFailed: the run failed; its message is in ours.
        RunNotCompleted: it was cancelled, or did not complete in another way.
        RunCrashed: its process died; another try starts a new run.
    """
    require_deployments(deployment, state="the steps after it were not started")
    run = ended_run(deployment, parameters, name=deployment, part=deployment)
    require_completed(run, deployment, state="the steps after it were not started")
    return run.name


def _replication(runner: ThreadPoolTaskRunner[str], source: str) -> PrefectFuture[str]:
    parameters = {"deployment": f"replicate/{source}", "parameters": {"source": source}}
    return runner.submit(run_elsewhere, parameters)


def _let_all_end(replications: Sequence[PrefectFuture[str]]) -> None:
    """Wait for every replication, then raise what failed.

    Raises:
        RunFailed: several failed.
        RunNotCompleted: several did not complete, and not each of them failed.
        Exception: one did not complete, for this reason.
    """
    failed: list[Exception] = []
    for each in replications:
        try:
            each.result()
        except Exception as error:  # noqa: BLE001  (whatever it is, the other replications go on)
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        # First those that no alert told of.
        failed.sort(key=lambda error: isinstance(error, RunFailed))
        named = [error.what if isinstance(error, FloeError) else str(error) for error in failed[:NAMED]]
        more = [f"and {len(failed) - NAMED} more"] if len(failed) > NAMED else []
        told = all(isinstance(error, RunFailed) for error in failed)
        raise (RunFailed if told else RunNotCompleted)(
            f"{len(failed)} of {len(replications)} replications did not complete: {'; '.join(named + more)}",
            state="the others are complete; the steps after them were not started",
            next_command="floe status",
        )
