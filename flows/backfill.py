"""The flow `backfill`: bring chosen data into the warehouse again, as every day's runs bring it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any, cast

from prefect import flow, get_client, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks.airbyte import AirbyteConnection
from blocks.backfill import BUILD, FilesBackfill, Part, SourceBackfill, build_parts, parts_of
from blocks.errors import PermanentError
from blocks.merged_rows import find_raw_table
from blocks.object_store import LandingBucket
from blocks.reconcile import dialect_of
from blocks.warehouse import Warehouse
from flows.attached_runs import POLL_SECONDS, ended_run
from flows.called_flows import as_ours
from flows.crashes import refuse_after_crashes
from flows.dataset_files import DatasetFiles
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps, by_class
from flows.runs_elsewhere import require_completed, require_deployments
from flows.transform import transform


class NothingToBackfill(PermanentError):
    """A backfill was started without a source and without a dataset."""


class PlannedPart(BaseModel):
    """One line of a plan.

    Attributes:
        step: the deployment that is run, or the flow `transform`.
        does: what it will do.
        now: what there is of it now.
    """

    step: str
    does: str
    now: str


class BackfillResult(BaseModel):
    """What a backfill did, or what it would do.

    Attributes:
        planned_only: nothing was done.
        parts: the plan.
        runs: names of the flow runs that did it, in their order.
    """

    planned_only: bool
    parts: list[PlannedPart]
    runs: list[str]


def _run_name() -> str:
    parameters = flow_run.get_parameters()
    asked = [each["source"] for each in _plain(parameters.get("sources"))]
    asked += [each["dataset"] for each in _plain(parameters.get("files"))]
    return f"{'plan of a ' if parameters.get('plan') else ''}backfill of {', '.join(asked) or 'nothing'}"


def _plain(asked: Any) -> list[dict[str, Any]]:
    return [each if isinstance(each, dict) else each.model_dump() for each in asked or []]


# Results are kept, so that a run which is started again goes on where it stood.
@flow(name="backfill", flow_run_name=_run_name, persist_result=True)
def backfill(
    sources: list[SourceBackfill] | None = None,
    files: list[FilesBackfill] | None = None,
    build: bool = True,
    full_refresh: bool = False,
    dashboards: bool = True,
    plan: bool = False,
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
) -> BackfillResult:
    """Read streams anew, load files again, compare with the sources, then build and publish the marts.

    Each part is a run of the deployment that does the same every day, so it waits for a run that is under
    way there, and a daily run that comes meanwhile waits for it: no source is synced twice at once. Only the
    build is part of this run, as it is in `elt`: so the dashboards are drawn when this flow asks for it, and
    not by the trigger on runs of `transform/marts`. A run of `elt` that is under way is waited for first.
    Retrying the run (in the UI, or by the server after a crash) does only what was not completed, goes on
    waiting for a part that still runs, and does of a build whose nodes failed only what was left.

    Args:
        sources: streams to read anew or to compare
        files: files to load
        build: afterwards build, test and publish the marts
        full_refresh: build incremental models from the beginning
        dashboards: draw the dashboards after the build. Without, they may still be drawn of what is loaded
            here where `emit/outbox` is switched on: it tells of every load, which starts a build of its own
        plan: only show what would be done, as a table artifact
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Raises:
        NothingToBackfill: neither a source nor a dataset is named.
        ConfigurationError: a source or dataset has no deployment, or no block.
        NoSuchStream, NoContract, BadPrefix: what was asked for does not exist.
        RunFailed: a part failed; the parts before it stay done.
        RunNotCompleted: a part was cancelled; the parts before it stay done.
        DbtFailed: the build failed; the parts before it stay done.
        RunCrashed: a part crashed each time it was tried.
        CrashedTooOften: this run crashed in each of its last starts.
    """
    refuse_after_crashes("floe logs worker-dbt-host, then retry the run")
    if not sources and not files:
        raise NothingToBackfill(
            "Neither a source nor a dataset is named",
            state="nothing was done",
            next_command="floe backfill --source <source>, or --dataset <dataset>",
        )
    steps = Steps(first_pause_seconds)
    parts = parts_of(sources or [], files or []) + (build_parts(full_refresh, dashboards) if build else [])
    planned = steps.run("plan", lambda: _planned(parts))
    _publish(planned)
    if plan:
        return BackfillResult(planned_only=True, parts=planned, runs=[])
    steps.run("let a daily run end", _let_daily_end)
    runs = [_run(number, part, first_pause_seconds) for number, part in enumerate(parts)]
    return BackfillResult(planned_only=False, parts=planned, runs=runs)


def _run(number: int, part: Part, first_pause_seconds: float) -> str:
    if part.step == BUILD:
        as_ours(transform, **part.parameters, first_pause_seconds=first_pause_seconds)
        return str(transform.flow_run_name)
    run = run_part.with_options(**by_class(first_pause_seconds=first_pause_seconds))
    return run(number, part.step, part.parameters)


@task(name="part of a backfill", task_run_name="{deployment}", **by_class())
def run_part(number: int, deployment: str, parameters: dict[str, Any]) -> str:
    """Run a deployment, or wait for the run that an interrupted try has started, and return its name.

    Args:
        number: of the part within its backfill.
        deployment: `flow/deployment`.
        parameters: of the flow.

    Raises:
        RunFailed: the run failed; its message is in ours.
        RunNotCompleted: it was cancelled, or did not complete in another way.
        RunCrashed: its process died; another try starts a new run.
    """
    run = ended_run(deployment, parameters, name=f"{deployment} (backfill)", part=number)
    require_completed(
        run,
        deployment,
        state="the parts before it stay done, those after it were not started",
        then="; then retry the backfill",
    )
    return run.name


def _planned(parts: list[Part]) -> list[PlannedPart]:
    """Look at what there is, and refuse what cannot be done before anything is."""
    deployments = [part.step for part in parts if part.step != BUILD]
    require_deployments(*deployments, state="nothing was done")
    return [PlannedPart(step=part.step, does=part.does, now=_now(part)) for part in parts]


def _now(part: Part) -> str:
    if isinstance(part.asked, FilesBackfill):
        asked = part.asked
        with closing(cast(LandingBucket, LandingBucket.load("landing"))) as landing:
            files = DatasetFiles(landing, asked.dataset, asked.prefix, asked.since, asked.until, asked.again)
        return f"{files.total:,} files, {len(files.pending):,} of them to load"
    return _rows(part.asked) if part.asked is not None else ""


def _rows(asked: SourceBackfill) -> str:
    connection = cast(AirbyteConnection, AirbyteConnection.load(asked.source))
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    dialect = dialect_of(warehouse.dbt_target())
    counted = []
    with warehouse.connect() as database:
        for stream in connection.named_streams(asked.streams) or connection.streams:
            table = find_raw_table(database, dialect.name, stream.raw_schema, stream.raw_table)
            if table is None:
                counted.append(f"{stream.name} not there")
                continue
            database.execute(f"select count(*) from {table.sql}")
            counted.append(f"{stream.name} {database.fetchall()[0][0]:,}")
    return f"rows: {', '.join(counted)}"


def _let_daily_end() -> None:
    """Wait while `elt` runs: some of its steps are no runs of their own that one could queue behind."""
    said = False
    with get_client(sync_client=True) as client:
        while client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["elt"])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])
                )
            ),
            limit=1,
        ):
            if not said:
                get_run_logger().info("A run of elt is under way; waiting for its end")
                said = True
            time.sleep(POLL_SECONDS)


def _publish(planned: list[PlannedPart]) -> None:
    create_table_artifact(
        key="backfill-plan",
        description="What the backfill does, in this order",
        table=[part.model_dump() for part in planned],
    )
