"""A failed build between two attempts of its run: how it is left, and how the next attempt takes it up."""

from __future__ import annotations

from typing import NamedTuple, cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentTaskRunId
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, get_run_context
from prefect.logging import get_run_logger

from blocks.dbt import DbtProject
from blocks.dbt_retry import KeptResults, Remaining, WholeBuildNeeded
from flows.retries import Steps


class _Failed(NamedTuple):
    """A failed build that stands in the build tables, and what is kept of it here."""

    run: str
    kept: KeptResults


def leave(project: DbtProject, run: str, arguments: list[str], steps: Steps) -> None:
    """Leave the build that failed just now as it is, so that a retry can go on with it.

    What goes wrong here does not hide why the build failed: the next attempt then builds everything.

    Args:
        project: whose build it is.
        run: of the build.
        arguments: of the build.
        steps: of the flow run.
    """

    def note() -> None:
        with project.warehouse.publisher() as publisher:
            publisher.leave(run)

    try:
        project.keep(run, arguments)
        steps.run("leave the build for a retry", note)
    except Exception as error:  # noqa: BLE001 - it is told
        get_run_logger().warning("A retry of this run will build everything: %s", error)


def take_up(project: DbtProject, run: str, arguments: list[str], steps: Steps) -> Remaining | None:
    """Take up the failed build of an earlier attempt where it stands.

    It is left alone, and the log says why, when a set of marts would come out of it that no build of
    everything would give: the tables must be as that attempt has left them, of the same project, and made
    of the data that there are now.

    Args:
        project: whose build it is.
        run: that takes it up.
        arguments: of the build.
        steps: of the flow run.

    Returns:
        What is left to do; None when everything has to be built.

    Raises:
        ConfigurationError: dbt cannot parse the project; the failed build stays as it is.
    """
    attempts = _attempts()
    if not attempts:
        return None
    try:
        failed = steps.run("look at the failed build", lambda: _failed(project, attempts))
        if isinstance(failed, str):
            raise WholeBuildNeeded(failed)
        remaining = project.remaining(failed.kept, arguments)
    except WholeBuildNeeded as reason:
        get_run_logger().warning("Everything is built, not only what was left: %s", reason)
        return None

    def note() -> None:
        with project.warehouse.publisher() as publisher:
            publisher.go_on(failed.run, run)

    steps.run("go on with the failed build", note)
    get_run_logger().info(
        "Going on with the build of run %s: %s nodes stay as they are, %s are left to do",
        failed.run,
        remaining.count_done,
        len(remaining.nodes),
    )
    return remaining


def _attempts() -> set[str]:
    """Return the runs whose work this one is to go on with; none when it is the first attempt.

    A retried run has its old id. Where another run, which has called this flow, is retried, this flow gets
    a new run under the same task run.
    """
    this = cast(FlowRun, cast(FlowRunContext, get_run_context()).flow_run)
    attempts = {str(this.id)} if this.run_count > 1 else set()
    if this.parent_task_run_id is not None:
        called = FlowRunFilterParentTaskRunId(any_=[this.parent_task_run_id])
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_task_run_id=called))
        attempts |= {str(run.id) for run in runs if run.id != this.id}
    return attempts


def _failed(project: DbtProject, attempts: set[str]) -> _Failed | str:
    """Return the failed build of one of the attempts, or why nothing can go on with it."""
    with project.warehouse.publisher() as publisher:
        run = publisher.failed()
        if run is None:
            return "the last build did not end with failed nodes, or another one has begun since"
        if run not in attempts:
            return f"what stands in the build tables is of another run, {run}"
        kept = project.kept(run)
        if not kept.are_there:
            return f"the results of run {run} are not on this host, in {project.output}"
        if publisher.has_new_data(run, kept.source_schemas()):
            return "data have come since it began, or nobody can tell any more"
    return _Failed(run, kept)
