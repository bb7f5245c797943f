"""The flow `maintain` on a real Prefect server, over a real lake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_HOME
from prefect.states import Completed

from blocks.run_history import prune
from blocks.warehouse import Warehouse
from flows.maintain import MaintainResult, maintain
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.settings import SnowflakeSettings
from tests.airbyte_service import new_lake_in
from tests.conftest import Cluster
from tests.old_runs import deployed, keep_result, make_older


@pytest.fixture(scope="module")
def lake(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> DuckLakeSettings:
    """An empty lake."""
    return new_lake_in(tmp_path_factory.mktemp("maintain"), cluster, extension_directory)


@pytest.fixture
def warehouse(prefect_server: None, lake: DuckLakeSettings) -> Iterator[Warehouse]:
    """The block `warehouse` of that lake, and the limit that builds hold."""
    block = Warehouse(target=lake)
    block.save("warehouse", overwrite=True)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name("transform", 1)
    yield block
    Warehouse.delete("warehouse")


@flow
def kept_busy() -> None:
    """Stands for any flow."""


@task
def begun_here() -> None:
    """Stands for what starts a run within another one."""


@pytest.fixture
def deployment(prefect_server: None) -> Iterator[UUID]:
    """A deployment of Floe's, gone after the test."""
    made = deployed(kept_busy)
    yield made
    with get_client(sync_client=True) as client:
        client.delete_deployment(made)


def old_run(days: float, deployment: UUID | None = None, parent: UUID | None = None) -> UUID:
    """Make a run with an artifact that ended so many days ago; return its id."""
    with get_client(sync_client=True) as client:
        begun = client.create_task_run(begun_here, parent, str(uuid4())).id if parent else None
        if deployment is None:
            run = client.create_flow_run(kept_busy, state=Completed(), parent_task_run_id=begun)
        else:
            run = client.create_flow_run_from_deployment(
                deployment, state=Completed(), parent_task_run_id=begun
            )
        artifact = ArtifactCreate(key=f"of-{run.id}", type="markdown", data="x", flow_run_id=run.id)
        client.create_artifact(artifact)
    make_older(run.id, days)
    return run.id


def is_there(run: UUID) -> bool:
    with get_client(sync_client=True) as client:
        try:
            client.read_flow_run(run)
        except ObjectNotFound:
            found = client.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[f"of-{run}"]))
            )
            assert found == []
            return False
    return True


def table() -> dict[str, tuple[int, int | None]]:
    """Return the newest artifact: count and bytes by what they are of."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["maintain"]))
        )
    rows = json.loads(max(found, key=lambda each: str(each.created)).data)
    return {row["what"]: (row["count"], row["bytes"]) for row in rows}


@pytest.mark.thorough
def test_it_says_what_it_freed_in_the_lake_and_on_the_server(
    warehouse: Warehouse, lake: DuckLakeSettings, cluster: Cluster, deployment: UUID
) -> None:
    with connect(lake) as writer:
        writer.execute("create table rows (id int)")
        for number in range(4):
            writer.execute(f"insert into rows from range({number * 100}, {number * 100 + 100})")
        writer.execute("create or replace table gone as from range(5000); drop table gone")
    with cluster.connect(lake.database) as catalog:
        catalog.execute("update ducklake_snapshot set snapshot_time = snapshot_time - interval '30 days'")
    first, old, last = old_run(90, deployment), old_run(60, deployment), old_run(5, deployment)
    (storage := PREFECT_HOME.value() / "storage").mkdir(exist_ok=True)
    (storage / "of-old").write_text("result")
    keep_result(old, storage / "of-old")
    make_older(old, 60)

    result = maintain()

    assert (result.files_merged, result.files_written, result.files_waiting) == (4, 1, 5)
    assert result.versions > 3
    assert (result.runs, result.artifacts, result.results) == (2, 3, 1)
    assert [is_there(run) for run in (first, old, last)] == [False, False, True]
    with connect(lake, read_only=True) as reader:
        assert reader.execute("select count(*), max(id) from rows").fetchall() == [(400, 399)]
    shown = table()
    assert shown["lake: small files merged into 1"] == (4, None)
    assert shown["Prefect: flow runs removed"] == (2, None)
    assert shown["Prefect: results removed"] == (1, 6)

    with cluster.connect(lake.database) as catalog:
        catalog.execute(
            "update ducklake_files_scheduled_for_deletion"
            " set schedule_start = schedule_start - interval '2 days'"
        )
    again = maintain()
    assert (again.files_deleted, again.bytes_deleted > 1000, again.runs) == (5, True, 0)
    assert table()["lake: files deleted"] == (5, again.bytes_deleted)


@pytest.mark.thorough
def test_runs_of_floe_go_with_what_they_started_and_the_last_of_a_deployment_stays_with_it(
    deployment: UUID,
) -> None:
    elsewhere = deployed(kept_busy)
    first, second, last = (old_run(days, deployment) for days in (90, 80, 70))
    gone = [first, child := old_run(90, parent=first), old_run(90, parent=child), second]
    started = old_run(70, elsewhere, parent=last)
    kept = [last, child := old_run(70, parent=last), old_run(70, parent=child), started]
    # The last run of its deployment: of the run that started it the others are gone.
    kept.append(old_run(60, elsewhere, parent=second))
    assert prune(datetime.now(UTC) - timedelta(days=30))[:2] == (4, 4)
    assert [is_there(run) for run in gone + kept] == [False] * 4 + [True] * 5
    with get_client(sync_client=True) as client:
        client.delete_deployment(elsewhere)


def test_runs_of_nobody_and_of_the_deployments_of_others_stay(deployment: UUID) -> None:
    foreign = deployed(kept_busy, ours=False)
    ours = [old_run(50, deployment), old_run(40, deployment)]
    others = [old_run(90, foreign), old_run(80, foreign), old_run(90), old_run(80)]
    assert prune(datetime.now(UTC) - timedelta(days=30))[:2] == (1, 1)
    assert [is_there(run) for run in ours + others] == [False] + [True] * 5


def test_in_snowflake_there_is_nothing_to_do_and_it_says_why(warehouse: Warehouse, deployment: UUID) -> None:
    target = SnowflakeSettings(
        account="none", user="floe", private_key="none", role="r", warehouse="w", database="d"
    )
    Warehouse(target=target).save("warehouse", overwrite=True)
    run, _ = old_run(40, deployment), old_run(35, deployment)
    result = maintain()
    assert "Time Travel" in (result.warehouse or "")
    assert result == MaintainResult(warehouse=result.warehouse, runs=1, artifacts=1)
    assert result.warehouse in table()
    assert not is_there(run)
