"""The flow `transform` with the real dbt over a real lake, in a project of two models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from file_stack import running_store
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State

from blocks.dbt import DbtProject
from blocks.errors import DbtFailed
from blocks.object_store import LandingBucket
from blocks.slim_build import KEY
from blocks.warehouse import Warehouse
from flows.transform import transform
from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.object_store import Bucket
from lambda_csv_loader.settings import ObjectStoreSettings
from tests.airbyte_service import new_lake_in, until
from tests.conftest import Cluster
from tests.flaky_port import FlakyPort, flaky_port
from tests.postgres_server import free_port
from tests.small_project import small_project
from tests.step_runs import tries

TESTED = "models: [{name: doubled, columns: [{name: id, data_tests: [unique]}]}]\n"


@pytest.fixture(scope="module")
def lake(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> DuckLakeSettings:
    """An empty lake."""
    return new_lake_in(tmp_path_factory.mktemp("transform"), cluster, extension_directory)


@pytest.fixture
def project(prefect_server: None, lake: DuckLakeSettings, tmp_path: Path) -> Iterator[tuple[Path, FlakyPort]]:
    """The block `dbt` of a project without models, its lake behind a port that hangs up when told to."""
    folder = small_project(tmp_path / "project")
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name("transform", 1)
    with flaky_port(lake.port) as flaky:
        warehouse = Warehouse(target=lake.model_copy(update={"port": flaky.port}))
        block = DbtProject(warehouse=warehouse, output=tmp_path / "output", project=folder)
        block.save("dbt", overwrite=True)
        yield folder, flaky


def flow_run(ended: State[Any]) -> UUID:
    run = ended.state_details.flow_run_id
    assert run is not None
    return run


def node_logs(ended: State[Any], node: str) -> list[str]:
    """Return what the server has in the log of a node's task run; waits for an explanation."""

    def written() -> list[str] | None:
        with get_client(sync_client=True) as client:
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run(ended)])))
        found = [log.message for log in logs if log.task_run_id and log.message.startswith(node)]
        return found if any("its SQL" in message for message in found) else None

    return list(until(written, f"the log of {node}", 20))


def test_a_failed_build_tells_the_sql_and_the_failing_rows_and_an_absent_warehouse_only_delays_it(
    project: tuple[Path, FlakyPort], lake: DuckLakeSettings
) -> None:
    folder, flaky = project
    (folder / "models" / "doubled.sql").write_text("select 7 as id union all select 7")
    (folder / "models" / "broken.sql").write_text("select nothing_like_it from (select {{ 40 + 2 }} as id)")
    (folder / "models" / "all.yml").write_text(TESTED)
    flaky.hang_ups[b""] = 1
    ended = transform(first_pause_seconds=0.01, return_state=True)

    with pytest.raises(DbtFailed) as failure:
        ended.result()
    query = 'select * from "lake"."test_failures"."unique_doubled_id"'
    assert f"Got 1 result, configured to fail if != 0 (1 failing rows: {query})" in failure.value.what
    with Warehouse(target=lake).connect() as database:
        assert database.execute(query).fetchall() == [(7, 2)]

    (sql,) = node_logs(ended, "model broken")
    assert sql.endswith("broken.sql):\nselect nothing_like_it from (select 42 as id)")
    assert f"test unique_doubled_id: 1 failing rows: {query}" in node_logs(ended, "test unique_doubled_id")
    with get_client(sync_client=True) as client:
        (table,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                key=ArtifactFilterKey(any_=["transform-failures"]),
                flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run(ended)]),
            )
        )
    rows = {row["node"]: (row["failing rows"], row["see them"]) for row in json.loads(table.data)}
    assert rows == {"test unique_doubled_id": (1, query), "model broken": (None, "")}

    steps = {"begin the build": 2, "leave the build for a retry": 1}
    assert tries(ended, *steps) == steps


@pytest.fixture
def landing(prefect_server: None, tmp_path: Path) -> Iterator[ObjectStoreSettings]:
    """The block `landing` of a bucket of its own."""
    with running_store(tmp_path / "store", "landing") as store:
        settings = ObjectStoreSettings(
            bucket="landing",
            queue_url="q",
            dead_letter_queue_url="d",
            endpoint_url=store.url,
            access_key_id="a",
            secret_access_key="s",
        )
        LandingBucket(**settings.model_dump()).save("landing", overwrite=True)
        yield settings


@pytest.mark.thorough
def test_a_build_is_published_once_with_a_warehouse_that_was_away(
    project: tuple[Path, FlakyPort], lake: DuckLakeSettings, landing: ObjectStoreSettings
) -> None:
    """Its manifest is then in the bucket, for slim builds."""
    folder, flaky = project
    (folder / "models" / "doubled.sql").write_text("select 7 as id")
    (folder / "models" / "all.yml").write_text(TESTED)
    flaky.hang_ups[b""] = 2
    ended = transform(first_pause_seconds=0.01, return_state=True)
    assert (ended.result().models, ended.result().tests_passed) == (1, 1)
    steps = {"begin the build": 3, "publish": 1}
    assert tries(ended, *steps) == steps
    with Warehouse(target=lake).connect() as database:
        assert database.execute("select * from marts.doubled").fetchall() == [(7,)]
    assert "model.floe.doubled" in Bucket(landing).get_json(KEY)["nodes"]


@pytest.mark.thorough
def test_a_build_is_published_also_when_its_manifest_cannot_be_kept(
    project: tuple[Path, FlakyPort], lake: DuckLakeSettings, landing: ObjectStoreSettings
) -> None:
    folder, _ = project
    (folder / "models" / "doubled.sql").write_text("select 8 as id")
    nowhere = landing.model_copy(update={"endpoint_url": f"http://127.0.0.1:{free_port()}"})
    LandingBucket(**nowhere.model_dump()).save("landing", overwrite=True)
    ended = transform(first_pause_seconds=0.01, return_state=True)
    assert ended.is_completed()
    with Warehouse(target=lake).connect() as database:
        assert database.execute("select * from marts.doubled").fetchall() == [(8,)]

    def warned() -> bool:
        with get_client(sync_client=True) as client:
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run(ended)])))
        return any("goes on comparing with an earlier set" in log.message for log in logs)

    until(warned, "the warning", 20)
