"""What Prometheus gets: runs of a real Prefect server, a real lake, a real queue, over HTTP."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import duckdb
import pytest
from file_stack import Cluster, FileStack, handler_environment, new_stack, running_store
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Crashed, Failed, Running
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from blocks.errors import FloeError
from blocks.own_deployments import OURS
from blocks.settings import ROOT, AirbyteSettings, Settings
from blocks.sync_log import last_good_syncs
from deployments.metrics.data import RETRY_SECONDS, DataMetrics
from deployments.metrics.runs import RunMetrics
from deployments.metrics.server import serve
from lambda_csv_loader.ducklake import connect
from tests.connection_settings import REASON, declaration

LONG_AGO = datetime(2001, 2, 3, tzinfo=UTC)
CRM = declaration(
    "crm",
    {"name": "customer", "sync_mode": "full_refresh_overwrite"},
    {**REASON, "fresh_within": "8d"},
    owner="sales",
    fresh_within="1d",
)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@flow
def measured() -> None:
    """Stands for any flow."""


@pytest.fixture
def deployment(prefect_server: None) -> Iterator[str]:
    """A deployment of Floe's without any run: its id; its name is `measured/<id's twin>`."""
    made = deployed()
    yield str(made)
    with get_client(sync_client=True) as client:
        client.delete_deployment(made)


def deployed(step: str = OURS) -> UUID:
    """Make a deployment; its name is its pull step's."""
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            client.create_flow(measured),
            name=f"of-{step}-{uuid4()}",
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT), "id": step}}
            ],
        )


def ended(deployment: str | UUID, state: State) -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(UUID(str(deployment)))
        client.set_flow_run_state(run.id, Running(), force=True)
        if not state.is_running():
            client.set_flow_run_state(run.id, state, force=True)


def named(deployment: str | UUID) -> str:
    with get_client(sync_client=True) as client:
        return f"measured/{client.read_deployment(UUID(str(deployment))).name}"


def runs_of(metrics: RunMetrics, deployment: str) -> Samples:
    """Return the samples of one deployment, its label left out."""
    name = named(deployment)
    with get_client(sync_client=True) as client:
        families = metrics.read(client)
    return {
        (sample.name, tuple(sorted(set(sample.labels.items()) - {("deployment", name)}))): sample.value
        for family in families
        for sample in family.samples
        if sample.labels["deployment"] == name
    }


def state(of: str) -> tuple[tuple[str, str], ...]:
    return (("state", of),)


def test_each_end_is_counted_once_from_zero(deployment: str) -> None:
    watching = RunMetrics()
    before = runs_of(watching, deployment)
    assert before["floe_flow_runs_total", state("failed")] == 0
    for end in (Completed(), Completed(), Failed(), Crashed(), Cancelled()):
        ended(deployment, end)
    for _ in range(2):
        after = runs_of(watching, deployment)
        counted = {of: after["floe_flow_runs_total", state(of)] for of in ("completed", "failed", "crashed")}
        assert counted == {"completed": 2, "failed": 1, "crashed": 1}
        assert after["floe_flow_run_duration_seconds_count", ()] == 5


def test_runs_that_ended_before_it_watched_are_shown_as_the_last_but_not_counted(deployment: str) -> None:
    ended(deployment, Completed())
    ended(deployment, Failed())
    found = runs_of(RunMetrics(), deployment)
    assert found["floe_flow_runs_total", state("failed")] == 0
    assert found["floe_deployment_last_run_failed", ()] == 1
    good = datetime.fromtimestamp(found["floe_deployment_last_success_timestamp_seconds", ()], UTC)
    assert abs(datetime.now(UTC) - good) < timedelta(minutes=5)


def test_the_last_run_is_good_again_after_a_failure(deployment: str) -> None:
    watching = RunMetrics()
    ended(deployment, Failed())
    assert runs_of(watching, deployment)["floe_deployment_last_run_failed", ()] == 1
    ended(deployment, Completed())
    assert runs_of(watching, deployment)["floe_deployment_last_run_failed", ()] == 0


def test_a_run_under_way_is_open_until_it_ends(deployment: str) -> None:
    ended(deployment, Running())
    assert runs_of(RunMetrics(), deployment)["floe_flow_runs_open", state("running")] == 1


def test_runs_of_somebody_elses_deployment_are_left_out(prefect_server: None) -> None:
    theirs = deployed("theirs")
    watching = RunMetrics(started=LONG_AGO)
    ended(theirs, Failed())
    assert runs_of(watching, str(theirs)) == {}


def test_a_deployment_made_while_it_watches_is_counted(deployment: str) -> None:
    watching = RunMetrics()
    runs_of(watching, deployment)
    later = deployed()
    ended(later, Failed())
    assert runs_of(watching, str(later))["floe_flow_runs_total", state("failed")] == 1


@pytest.fixture(scope="module")
def stack(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FileStack]:
    """A bucket with its queues, and a lake in which one file was loaded and one refused."""
    folder = tmp_path_factory.mktemp("metrics")
    with running_store(folder / "store") as store:
        made = new_stack(store, cluster, extension_directory, folder)
        with handler_environment(made):
            made.put("landing/stock/good.csv", "day_id,item,quantity\n1,1,5\n1,2,6\n")
            made.put("landing/stock/bad.csv", "day_id,item,quantity\n1,one,5\n")
            made.drain()
            yield made


def settings_of(stack: FileStack) -> Settings:
    return Settings(
        airbyte=AirbyteSettings(server_url="http://127.0.0.1:9", client_id="x", client_secret="x"),
        object_store=stack.store,
        warehouse=stack.warehouse,
    )


def synced(lake: duckdb.DuckDBPyConnection, stream: str, rows: int) -> None:
    # Makes the table.
    last_good_syncs(lake)
    lake.execute(
        "insert into ops.syncs (sync_id, connection, stream, status, finished_at, namespace, rows_written)"
        f" values (1, 'crm', '{stream}', 'succeeded', '{LONG_AGO.isoformat()}', 'public', {rows})"
    )


PARSERS: dict[str, Callable[[str], object]] = {"text/plain": prometheus_text, "openmetrics": open_metrics}


@pytest.mark.thorough
@pytest.mark.parametrize(("accept", "parser"), PARSERS.items(), ids=PARSERS)
def test_a_scrape_tells_of_runs_streams_files_and_queues(
    accept: str, parser: Callable[[str], object], deployment: str, stack: FileStack
) -> None:
    with connect(stack.warehouse) as lake:  # type: ignore[arg-type]
        lake.execute("drop table if exists ops.syncs")
        synced(lake, "customer", 40)
        synced(lake, "customer", 2)
    endpoint = serve(settings_of(stack), [CRM], "127.0.0.1", 0)
    try:
        wanted = {
            "Accept": "application/openmetrics-text; version=1.0.0" if accept == "openmetrics" else accept
        }
        with urllib.request.urlopen(urllib.request.Request(endpoint.url, headers=wanted)) as answer:  # noqa: S310
            text = answer.read().decode()
    finally:
        endpoint.close()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in parser(text)  # type: ignore[attr-defined]
        for sample in family.samples
    }
    assert (
        samples["floe_stream_synced_timestamp_seconds", "crm", "customer", "public"] == LONG_AGO.timestamp()
    )
    assert samples["floe_stream_rows_written_total", "crm", "customer", "public"] == 42
    assert samples["floe_stream_fresh_within_seconds", "crm", "public", "reason"] == 8 * 86_400
    assert ("floe_stream_synced_timestamp_seconds", "crm", "public", "reason") not in samples
    assert samples["floe_csv_files", "loaded", "stock"] == 1
    assert samples["floe_csv_files", "quarantined", "stock"] == 1
    assert samples["floe_csv_rows", "loaded", "stock"] == 2
    assert samples["floe_queue_messages", "dead"] == 0
    assert samples["floe_flow_runs_total", "failed", named(deployment)] == 0
    assert {samples["floe_up", system] for system in ("prefect", "warehouse", "queue")} == {1}


@pytest.mark.thorough
def test_what_does_not_answer_is_told_and_hides_nothing_else(deployment: str, stack: FileStack) -> None:
    settings = settings_of(stack)
    away = settings.object_store.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    endpoint = serve(settings.model_copy(update={"object_store": away}), [CRM], "127.0.0.1", 0)
    try:
        with urllib.request.urlopen(endpoint.url) as answer:  # noqa: S310
            text = answer.read().decode()
    finally:
        endpoint.close()
    assert 'floe_up{system="queue"} 0.0' in text
    assert 'floe_up{system="warehouse"} 1.0' in text
    assert named(deployment) in text


@pytest.mark.thorough
def test_the_warehouse_is_read_again_only_after_something_ended(stack: FileStack) -> None:
    data = DataMetrics(settings_of(stack), [CRM])
    with connect(stack.warehouse) as lake:  # type: ignore[arg-type]

        def reasons(changes: int) -> float:
            families = data.of_warehouse(changes)
            rows = next(family for family in families if family.name == "floe_stream_rows_written")
            return sum(sample.value for sample in rows.samples if sample.labels["stream"] == "reason")

        lake.execute("drop table if exists ops.syncs")
        synced(lake, "reason", 1)
        assert reasons(1) == 1
        synced(lake, "reason", 1)
        assert reasons(1) == 1
        assert reasons(2) == 2


@pytest.mark.thorough
def test_a_warehouse_that_does_not_answer_is_asked_once_a_minute(stack: FileStack, cluster: Cluster) -> None:
    away = settings_of(stack).model_copy(update={"warehouse": stack.warehouse.model_copy(update={"port": 9})})
    data = DataMetrics(away, [CRM])
    now = 0.0
    with pytest.raises(FloeError, match="warehouse failed"):
        data.of_warehouse(1, lambda: now)
    with pytest.raises(FloeError, match="a moment ago"):
        data.of_warehouse(1, lambda: now + 1)
    with pytest.raises(FloeError, match="warehouse failed"):
        data.of_warehouse(1, lambda: now + RETRY_SECONDS)
