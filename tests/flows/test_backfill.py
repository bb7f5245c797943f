"""The flow `backfill` on a real Prefect server: the plan, what is refused, and the runs that do it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    TaskRunFilter,
    TaskRunFilterName,
)
from prefect.client.schemas.objects import State, StateType
from prefect.flow_engine import run_flow
from prefect.states import Completed, Scheduled
from pydantic import SecretStr

from blocks.airbyte_errors import NoSuchStream
from blocks.airbyte_streams import ReplicatedStream
from blocks.backfill import FilesBackfill, SourceBackfill, build_parts, parts_of
from blocks.errors import ConfigurationError
from blocks.reconcile_plan import PlannedStream, ReconcilePlan
from blocks.repair_policy import RepairPolicy
from blocks.source_database import SourceDatabase
from blocks.warehouse import Warehouse
from flows.attached_runs import POLL_SECONDS
from flows.backfill import BackfillResult, NothingToBackfill, backfill
from flows.elt import elt
from flows.reconcile import reconcile
from flows.replicate import replicate
from flows.runs_elsewhere import RunFailed
from tests.airbyte_service import Replication, new_lake_in, replication, running
from tests.conftest import Cluster
from tests.prefect_host import deployment_on, pool_worker, until

POOL = "backfill-test"
STREAMS = ("first", "second", "third")


@pytest.fixture(scope="module")
def shop(
    prefect_server: None,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Replication]:
    """The source `refill` with its blocks, replicated once, and the deployments of its flows."""
    home = tmp_path_factory.mktemp("backfill")
    lake = new_lake_in(home, cluster, extension_directory)
    with running(home / "airbyte") as stand_in:
        shop = replication(stand_in, cluster, lake, schema="raw_refill")
        streams = tuple(
            ReplicatedStream(namespace="public", name=name, raw_schema="raw_refill", raw_table=name)
            for name in STREAMS
        )
        connection = shop.block(streams=streams).model_copy(update={"name": "refill"})
        connection.save("refill", overwrite=True)
        SourceDatabase(
            host="127.0.0.1",
            port=cluster.port,
            database=shop.database,
            user="floe",
            password=SecretStr(cluster.password),
        ).save("refill-source", overwrite=True)
        Warehouse(target=lake).save("warehouse", overwrite=True)
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            for flow in (replicate, reconcile):
                deployment_on(POOL, flow, "refill")
        connection.trigger().wait_for_completion()
        yield shop
        Warehouse.delete("warehouse")
        SourceDatabase.delete("refill-source")


def refill(**fields: Any) -> SourceBackfill:
    return SourceBackfill(source="refill", **fields)


def newest_plan() -> list[dict[str, str]]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["backfill-plan"]))
        )
    rows: list[dict[str, str]] = json.loads(max(found, key=lambda each: str(each.created)).data)
    return rows


def runs_of(deployment: str) -> int:
    with get_client(sync_client=True) as client:
        of = FlowRunFilterDeploymentId(any_=[client.read_deployment_by_name(deployment).id])
        return len(client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=of)))


def test_the_parts_are_files_then_each_source_then_the_marts() -> None:
    asked = FilesBackfill(dataset="stock", since="2003-01-01", again="refused")  # type: ignore[arg-type]
    parts = parts_of([refill(streams=["first"], compare_days=3)], [asked]) + build_parts(True, False)
    assert [(part.step, part.parameters) for part in parts] == [
        ("ingest-csv/stock", {"dataset": "stock", "since": "2003-01-01", "again": "refused"}),
        ("replicate/refill", {"source": "refill", "refresh": True, "streams": ["first"]}),
        ("reconcile/refill", {"source": "refill", "streams": ["first"], "window_days": 3.0}),
        ("transform", {"full_refresh": True}),
    ]
    assert parts[0].does == "load what is missing of landing/stock/, since 2003-01-01, refused ones again"
    (only,) = parts_of([refill(refresh=False)], [])
    assert (only.step, only.parameters) == ("reconcile/refill", {"source": "refill"})


@pytest.mark.thorough
def test_a_plan_says_what_would_be_done_and_does_nothing(shop: Replication) -> None:
    newest = shop.block().newest_job_id()
    result = backfill(sources=[refill(streams=["first", "public.third"])], build=False, plan=True)
    assert (result.planned_only, result.runs) == (True, [])
    assert newest_plan() == [part.model_dump() for part in result.parts]
    assert [(part.step, part.now) for part in result.parts] == [
        ("replicate/refill", "rows: first 100, third 100"),
        ("reconcile/refill", "rows: first 100, third 100"),
    ]
    assert result.parts[0].does.startswith("read first, public.third anew as a whole")
    assert (shop.block().newest_job_id(), runs_of("replicate/refill")) == (newest, 0)


@pytest.mark.thorough
def test_what_does_not_exist_is_refused_before_anything_is_done(shop: Replication) -> None:
    newest = shop.block().newest_job_id()
    with pytest.raises(NothingToBackfill, match="Neither a source nor a dataset"):
        backfill()
    with pytest.raises(ConfigurationError, match="There is no deployment replicate/nowhere"):
        backfill(sources=[refill(), SourceBackfill(source="nowhere")], build=False)
    with pytest.raises(NoSuchStream, match="refill has no stream 'fourth'"):
        backfill(sources=[refill(streams=["fourth"])], build=False)
    assert shop.block().newest_job_id() == newest


@pytest.fixture
def worker(shop: Replication) -> Iterator[None]:
    """A worker that runs what is asked of the deployments."""
    with pool_worker(POOL, 2):
        yield


def rows(shop: Replication, table: str) -> int:
    with Warehouse(target=shop.lake).connect() as database:
        database.execute(f"select count(*) from raw_refill.{table}")
        return int(database.fetchall()[0][0])


@pytest.mark.thorough
def test_a_backfill_that_failed_half_way_goes_on_with_what_it_had_not_done(
    shop: Replication, worker: None
) -> None:
    with Warehouse(target=shop.lake).connect() as database:
        database.execute(
            "delete from raw_refill.first where id > 10; delete from raw_refill.third where id > 10"
        )
    parameters = {"sources": [{"source": "refill", "streams": ["first"]}], "build": False}
    with get_client(sync_client=True) as prefect:
        run = prefect.create_flow_run(backfill, parameters=parameters)

        def attempt() -> State[BackfillResult]:
            state: State[BackfillResult] = run_flow(
                backfill,
                flow_run=prefect.read_flow_run(run.id),
                parameters={**parameters, "first_pause_seconds": 0.01},
                return_type="state",
            )
            return state

        # What reconciles has no plan, so the second part fails.
        first = attempt()
        with pytest.raises(RunFailed, match="reconcile/refill ended Failed"):
            first.result()
        assert (rows(shop, "first"), rows(shop, "third")) == (100, 10)
        compared = PlannedStream(
            namespace="public",
            name="first",
            raw_schema="raw_refill",
            raw_table="first",
            sync_mode="incremental_deduped_history",
            primary_key=["id"],
            cursor="changed",
            policy=RepairPolicy(),
        )
        ReconcilePlan(source="refill", streams=[compared]).save("refill-reconcile", overwrite=True)
        prefect.set_flow_run_state(run.id, Scheduled(name="AwaitingRetry"), force=True)
        second = attempt()

    assert second.type == StateType.COMPLETED
    assert (runs_of("replicate/refill"), runs_of("reconcile/refill")) == (1, 2)


def is_waiting(client: SyncPrefectClient) -> bool:
    """Tell whether a backfill waits for a daily run."""
    named = TaskRunFilter(name=TaskRunFilterName(any_=["let a daily run end"]))
    return any(step.state_name == "Running" for step in client.read_task_runs(task_run_filter=named))


@pytest.mark.thorough
def test_a_backfill_waits_for_a_daily_run_that_is_under_way(shop: Replication) -> None:
    before = runs_of("replicate/refill")
    with get_client(sync_client=True) as client:
        daily = client.create_flow_run(elt, parameters={"sources": ["refill"], "datasets": []})
        client.set_flow_run_state(daily.id, State(type=StateType.RUNNING), force=True)
        asked = [refill(streams=["second"])]
        ends: list[BackfillResult] = []
        # With the settings of this thread, which name the server.
        waiting = threading.Thread(
            target=copy_context().run, args=(lambda: ends.append(backfill(asked, build=False)),)
        )
        waiting.start()
        try:
            until(lambda: is_waiting(client))
            time.sleep(3 * POLL_SECONDS)
            assert (waiting.is_alive(), runs_of("replicate/refill")) == (True, before)
        finally:
            client.set_flow_run_state(daily.id, Completed(), force=True)
        # There is no worker, so the test ends its parts.
        while waiting.is_alive():
            for part in client.read_flow_runs(
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["refill"]))
            ):
                if part.state is None or not part.state.is_final():
                    client.set_flow_run_state(part.id, Completed(), force=True)
            time.sleep(0.2)
    assert runs_of("replicate/refill") == before + 1
    assert len(ends[0].runs) == 2
