"""The flow `emit` on a real Prefect server: every file and sync is told, and a crash tells it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.flow_engine import run_flow

from blocks import outbox
from blocks.outbox import Happening
from blocks.warehouse import Warehouse
from deployments.prefect_objects import PREFECT_YAML
from flows.emit import emit
from lambda_csv_loader.ducklake_tables import prepare_ops
from lambda_csv_loader.session import Session
from tests.airbyte_service import new_lake_in, until
from tests.conftest import Cluster

SYNCED = "2003-01-02 00:00:00+00"


@pytest.fixture
def warehouse(
    prefect_server: None, cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> Iterator[Warehouse]:
    """The block `warehouse` of a lake with two files, one of them refused, and a sync of two streams."""
    block = Warehouse(target=new_lake_in(tmp_path, cluster, extension_directory))
    block.save("warehouse", overwrite=True)
    with block.connect() as database:
        session = Session(lambda: database)
        session.run(lambda: prepare_ops(session))
        database.execute(
            "create table ops.syncs (sync_id bigint, connection varchar, stream varchar, status varchar, "
            "started_at timestamptz, finished_at timestamptz, rows_written bigint, emitted_at timestamptz)"
        )
        for key, status in (("a", "loaded"), ("b", "quarantined"), ("c", "superseded")):
            database.execute(
                "insert into ops.csv_files (file_id, dataset, bucket, key, status, rows_loaded, attempts, "
                f"recorded_at) values ('id-{key}', 'stock', 'x', '{key}.csv', '{status}', 7, 1, now())"
            )
        for stream in ("one", "two"):
            database.execute(
                "insert into ops.syncs values "
                f"(3, 'my.shop', '{stream}', 'succeeded', '{SYNCED}', '{SYNCED}', 5, null)"
            )
    yield block
    Warehouse.delete("warehouse")


def events(prefix: str) -> list[dict[str, Any]]:
    """Return the server's events of the names that begin so."""
    wanted = {"filter": {"event": {"prefix": [prefix]}}, "limit": 50}
    with get_client(sync_client=True) as client:
        found: list[dict[str, Any]] = client.request("POST", "/events/filter", json=wanted).json()["events"]
    return found


@pytest.mark.thorough
def test_files_and_syncs_are_told_once_and_after_a_crash_again_under_the_same_id(
    warehouse: Warehouse,
) -> None:
    before: list[Happening] = []

    def die(batch: Sequence[Happening]) -> None:
        before.extend(batch)
        raise SystemExit

    with warehouse.connect() as database, pytest.raises(SystemExit):
        outbox.empty(database, die)

    assert emit() == {"floe.file.loaded": 1, "floe.file.quarantined": 1, "floe.sync.succeeded": 1}
    told = until(lambda: found if len(found := events("floe.")) == 3 else None, "three events", 30)
    names = {event["event"]: event["resource"]["prefect.resource.id"] for event in told}
    assert names == {
        "floe.file.loaded": "floe.dataset.stock",
        "floe.file.quarantined": "floe.dataset.stock",
        "floe.sync.succeeded": "floe.source.my.shop",
    }
    payloads = {event["event"]: event["payload"] for event in told}
    assert (payloads["floe.file.loaded"]["key"], payloads["floe.sync.succeeded"]["rows"]) == ("a.csv", 10)
    assert {event["id"] for event in told} > {each.document(datetime.now(UTC))["id"] for each in before}
    assert emit() == {}

    with warehouse.connect() as database:
        database.execute("update ops.csv_files set attempts = 2, emitted_at = null where file_id = 'id-b'")
    assert emit() == {"floe.file.quarantined": 1}


@flow
def built() -> None:
    """Stands for `transform`."""


@contextmanager
def triggered(flow_name: str) -> Iterator[FlowRunFilter]:
    """A deployment with the triggers that `prefect.yaml` gives the one of `flow_name`: its runs."""
    declared = yaml.safe_load(PREFECT_YAML.read_text())["deployments"]
    (trigger,) = next(each["triggers"] for each in declared if each["entrypoint"].endswith(f":{flow_name}"))
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(built), name=f"triggered as {flow_name}")
        parsed = DeploymentEventTrigger.model_validate({"name": flow_name, **trigger})
        parsed.set_deployment_id(deployment)
        automation = client.create_automation(parsed.as_automation())
        try:
            yield FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        finally:
            client.delete_automation(automation)
            client.delete_deployment(deployment)


def runs(of: FlowRunFilter) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=of)


@pytest.mark.thorough
def test_a_burst_of_files_starts_one_build_when_it_is_over(warehouse: Warehouse) -> None:
    with triggered("transform") as of:
        with warehouse.connect() as database:
            database.execute(
                "insert into ops.csv_files"
                " (file_id, dataset, bucket, key, status, rows_loaded, attempts, recorded_at)"
                " select 'burst-' || i, 'stock', 'x', i || '.csv', 'loaded', 1, 1, now() - to_minutes(i)"
                " from range(30) r(i)"
            )
        assert emit()["floe.file.loaded"] == 31
        # Those that do not count are seen after the one that does.
        until(lambda: runs(of) and len(events("floe.file")) >= 33, "a build", 30)
        (run,) = runs(of)
    assert run.expected_start_time is not None
    assert run.expected_start_time - datetime.now(UTC) > timedelta(seconds=20)


@pytest.mark.thorough
def test_new_marts_of_a_run_of_transform_are_published_and_those_of_elt_only_by_elt(
    prefect_server: None,
) -> None:
    with triggered("publish") as of, get_client(sync_client=True) as client:
        made = {
            name: client.create_deployment(client.create_flow(built), name=name, tags=tags)
            for name, tags in {"as elt": ["daily"], "as transform": ["transform"]}.items()
        }
        for deployment in made.values():
            run_flow(built, flow_run=client.create_flow_run_from_deployment(deployment))
        until(lambda: runs(of) and len(events("prefect.flow-run.Completed")) >= 2, "a publication", 30)
        assert len(runs(of)) == 1
        for deployment in made.values():
            client.delete_deployment(deployment)
