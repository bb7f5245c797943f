"""The stand-in from outside: its API through Airbyte's own SDK, crashes, cancellation, secrets."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from airbyte_api import AirbyteAPI, api, errors, models

from blocks.airbyte_errors import AirbyteRequestRefused
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.airbyte_service import (
    CLIENT_ID,
    CLIENT_SECRET,
    Replication,
    StandIn,
    locked,
    new_lake_in,
    replication,
    running,
    until,
)
from tests.conftest import Cluster


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    home = tmp_path_factory.mktemp("airbyte")
    with running(home, "--token-seconds", "2", "--retry-seconds", "0.05", "--attempts", "2") as stand_in:
        yield stand_in


@pytest.fixture
def fresh(stand_in: StandIn, cluster: Cluster, lake: DuckLakeSettings) -> Replication:
    """A connection that was never synced."""
    return replication(stand_in, cluster, lake)


@pytest.fixture(scope="module")
def shop(
    stand_in: StandIn,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Replication:
    """A connection shared by this module's tests, synced at least once."""
    lake = new_lake_in(tmp_path_factory.mktemp("shop"), cluster, extension_directory)
    shop = replication(stand_in, cluster, lake)
    assert shop.ended(trigger(shop))["status"] == "succeeded"
    return shop


def trigger(shop: Replication, job_type: str = "sync") -> int:
    return int(shop.stand_in.client().create_job(shop.connection_id, job_type)["jobId"])


def details(shop: Replication, job_id: int) -> list[dict[str, Any]]:
    return [item["attempt"] for item in shop.stand_in.client().job_details(job_id)["attempts"]]


# `second` is appended to, its boundary rows once more in every sync.
KEPT_EQUAL = ("first", "third")


def assert_replicated(shop: Replication, *tables: str) -> None:
    """Compare replicated tables with their source, rows counted."""
    with connect(shop.lake) as lake, shop.source() as source:
        for table in tables or KEPT_EQUAL:
            query = "select id, v, changed from {} order by id"
            raw = lake.execute(query.format(f"raw_shop.{table}")).fetchall()
            assert raw == source.execute(query.format(table).encode()).fetchall()


def sdk(stand_in: StandIn, *, token: Callable[[], str] | None = None) -> AirbyteAPI:
    credentials = models.SchemeClientCredentials(
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        token_url=f"{stand_in.url}/api/public/v1/applications/token",
    )
    security = (lambda: models.Security(bearer_auth=token())) if token else None
    return AirbyteAPI(
        server_url=f"{stand_in.url}/api/public/v1",
        security=security or models.Security(client_credentials=credentials),
        client=httpx.Client(trust_env=False),
    )


def test_the_official_sdk_drives_a_sync_and_reads_its_objects(fresh: Replication) -> None:
    client = fresh.stand_in.client()
    airbyte = sdk(fresh.stand_in, token=client._bearer)

    job = airbyte.jobs.create_job(
        request=models.JobCreateRequest(connection_id=fresh.connection_id, job_type=models.JobTypeEnum.SYNC)
    ).job_response
    assert job is not None
    assert job.status in (models.JobStatusEnum.PENDING, models.JobStatusEnum.RUNNING)
    seen = until(
        lambda: (
            found
            if (found := airbyte.jobs.get_job(request=api.GetJobRequest(job_id=job.job_id)).job_response)
            and found.status == models.JobStatusEnum.SUCCEEDED
            else None
        ),
        "the job succeeds",
    )
    assert (seen.rows_synced, seen.connection_id) == (300, fresh.connection_id)
    assert seen.bytes_synced > 0

    listed = airbyte.jobs.list_jobs(request=api.ListJobsRequest(connection_id=fresh.connection_id))
    assert [item.job_id for item in listed.jobs_response.data] == [job.job_id]  # type: ignore[union-attr]
    connection = airbyte.connections.get_connection(
        request=api.GetConnectionRequest(connection_id=fresh.connection_id)
    ).connection_response
    assert connection is not None
    assert [stream.name for stream in connection.configurations.streams or []] == ["first", "second", "third"]
    streams = airbyte.streams.get_stream_properties(
        request=api.GetStreamPropertiesRequest(source_id=fresh.source_id)
    ).stream_properties_response
    assert {item.stream_name: item.source_defined_primary_key for item in streams or []} == {
        "first": [["id"]],
        "second": [["id"]],
        "third": [["id"]],
    }
    sources = airbyte.sources.get_source(request=api.GetSourceRequest(source_id=fresh.source_id))
    assert sources.source_response is not None
    assert sources.source_response.source_type == "postgres"
    assert_replicated(fresh, "first", "second", "third")


def test_the_sdks_own_token_request_is_refused_as_airbyte_refuses_it(stand_in: StandIn) -> None:
    # It sends a form: https://github.com/airbytehq/airbyte-api-python-sdk/issues/126
    with pytest.raises(Exception, match="status code 401 from token endpoint"):
        sdk(stand_in).workspaces.list_workspaces(request=api.ListWorkspacesRequest())


def test_an_expired_token_is_refused(stand_in: StandIn) -> None:
    token = httpx.post(
        f"{stand_in.url}/api/public/v1/applications/token",
        json={"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
        trust_env=False,
    ).json()
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 2)
    airbyte = sdk(stand_in, token=lambda: token["access_token"])
    airbyte.workspaces.list_workspaces(request=api.ListWorkspacesRequest())

    def refused() -> bool:
        try:
            airbyte.workspaces.list_workspaces(request=api.ListWorkspacesRequest())
        except errors.SDKError as error:
            return error.status_code == 401
        return False

    until(refused, "the token expires")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/public/v1/tags"),
        ("POST", "/api/v1/connections/sync"),
        ("PUT", "/api/public/v1/sources/x"),
        ("GET", "/api/public/v1/jobs?createdAtStart=2003-01-01T00:00:00Z"),
    ],
)
def test_what_it_lacks_is_answered_with_501_and_named(stand_in: StandIn, method: str, path: str) -> None:
    token = stand_in.client()._bearer()
    answer = (
        httpx.request(
            method,
            stand_in.url + path,
            json={},
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        if method != "GET"
        else httpx.get(stand_in.url + path, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    )
    assert answer.status_code == 501
    assert path.partition("?")[0] in answer.json()["detail"]
    assert "stand-in" in answer.headers["x-stand-in"]


@pytest.mark.parametrize(
    ("configuration", "status", "words"),
    [
        ({"sourceType": "mysql"}, 501, "the source type mysql"),
        ({"replication_method": {"method": "CDC"}}, 501, "the replication method CDC"),
        ({"host": None}, 422, "configuration.host"),
        ({"port": "not a port"}, 422, "configuration.port"),
        ({"nonsense": 1}, 422, "configuration.nonsense"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_source_it_cannot_read_is_refused(
    shop: Replication, configuration: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(AirbyteRequestRefused, match=words) as refused:
        shop.stand_in.client().request(
            "PATCH", f"/sources/{shop.source_id}", {"configuration": configuration}
        )
    assert f"with {status}" in refused.value.what


@pytest.mark.parametrize(
    ("stream", "status", "words"),
    [
        ({"name": "nowhere"}, 400, "Stream nowhere was not found"),
        ({"name": "first", "syncMode": "incremental_append"}, 400, "needs a cursorField"),
        ({"name": "first", "syncMode": "incremental_append", "cursorField": ["x"]}, 400, "no field x"),
        ({"name": "first", "syncMode": "full_refresh_update"}, 501, "the sync mode full_refresh_update"),
        ({"name": "first", "mappers": [{"type": "hashing"}]}, 501, "mappers of stream first"),
    ],
    ids=["unknown table", "no cursor", "unknown cursor", "unknown mode", "mappers"],
)
def test_a_stream_it_cannot_sync_is_refused(
    shop: Replication, stream: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(AirbyteRequestRefused, match=words) as refused:
        shop.stand_in.client().request(
            "PATCH", f"/connections/{shop.connection_id}", {"configurations": {"streams": [stream]}}
        )
    assert f"with {status}" in refused.value.what


def test_of_two_triggers_one_gets_409(shop: Replication) -> None:
    with shop.source() as source, locked(source, "first") as waits:
        job_id = trigger(shop)
        waits()
        with pytest.raises(AirbyteRequestRefused, match="409: A sync is already running for") as refused:
            trigger(shop)
        assert shop.connection_id in refused.value.what
    assert shop.ended(job_id)["status"] == "succeeded"
    assert_replicated(shop)


# Whoever reads the second table waits, or whoever writes a version of the lake: its commit.
READING, COMMITTING = ("second", "access exclusive"), ("public.ducklake_snapshot", "share")


@pytest.mark.parametrize(
    ("victim", "moment"),
    [
        pytest.param("worker", READING, id="worker while reading", marks=pytest.mark.chaos),
        pytest.param("worker", COMMITTING, id="worker while committing"),
        pytest.param("service", READING, id="service while reading"),
        pytest.param("service", COMMITTING, id="service while committing", marks=pytest.mark.chaos),
        pytest.param("service, gently", READING, id="service stopped while reading", marks=pytest.mark.chaos),
    ],
)
def test_kill_9_is_repaired_by_itself(fresh: Replication, victim: str, moment: tuple[str, str]) -> None:
    """The second stream appends: rows written twice would show."""
    assert fresh.ended(trigger(fresh))["status"] == "succeeded"
    with fresh.source() as source, connect(fresh.lake) as lake:
        for table in ("second", "third"):
            source.execute(f"insert into {table} values (1000, 'new', 60)".encode())
        # Without the boundary's rows, which an append reads again, the tables must be equal.
        source.execute("delete from second where changed = 6")
        lake.execute("delete from raw_shop.second where changed = 6")
    database = fresh.database if moment is READING else fresh.lake.database
    with fresh.cluster.connect(database) as other:
        with locked(other, *moment) as waits:
            job_id = trigger(fresh)
            waits()
            (worker,) = fresh.stand_in.workers()
            if victim == "worker":
                worker.kill()
            else:
                fresh.stand_in.stop(signal.SIGKILL if victim == "service" else signal.SIGTERM)
            worker.wait(20)
        if victim != "worker":
            fresh.stand_in.start()
    assert fresh.ended(job_id)["status"] == "succeeded"
    attempts = details(fresh, job_id)
    assert [attempt["status"] for attempt in attempts] == ["failed", "succeeded"]
    reason = "was killed by signal 9" if victim == "worker" else "the service stopped while this attempt ran"
    assert reason in attempts[0]["failureSummary"]["failures"][0]["externalMessage"]
    assert_replicated(fresh, "first", "second", "third")


def test_a_lost_source_connection_is_tried_again(shop: Replication) -> None:
    with shop.source() as source:
        with locked(source, "second") as waits:
            job_id = trigger(shop)
            with shop.source() as other:
                other.execute("select pg_terminate_backend(%s)", [waits()])
        assert shop.ended(job_id)["status"] == "succeeded"
    first, second = details(shop, job_id)
    assert first["failureSummary"]["failures"][0]["streamDescriptor"]["name"] == "second"
    assert first["failureSummary"]["partialSuccess"] is True
    assert second["status"] == "succeeded"
    assert_replicated(shop)


def test_a_job_that_keeps_failing_is_given_up(shop: Replication) -> None:
    with shop.source() as source:
        source.execute("create or replace view broken as select 1/0 as id")
    client, path = shop.stand_in.client(), f"/connections/{shop.connection_id}"
    before = client.request("GET", path)["configurations"]
    broken = {"name": "broken", "syncMode": "full_refresh_overwrite"}
    client.request("PATCH", path, {"configurations": {"streams": [broken]}})

    job = shop.ended(trigger(shop))

    client.request("PATCH", path, {"configurations": before})
    assert job["status"] == "failed"
    attempts = details(shop, job["jobId"])
    assert [attempt["status"] for attempt in attempts] == ["failed"] * 2
    assert "division by zero" in attempts[-1]["failureSummary"]["failures"][0]["externalMessage"]


def test_a_changed_schema_fails_at_once_and_lets_the_other_streams_pass(shop: Replication) -> None:
    with shop.source() as source:
        source.execute("alter table first rename column v to w; insert into third values (500, 'x', 1)")
        job = shop.ended(trigger(shop))
        source.execute("alter table first rename column w to v")

    assert job["status"] == "failed"
    (attempt,) = details(shop, job["jobId"])
    failure = attempt["failureSummary"]["failures"][0]
    assert (failure["failureType"], failure["failureOrigin"]) == ("config_error", "source")
    assert "column v is gone" in failure["externalMessage"]
    assert_replicated(shop, "third")


@pytest.mark.parametrize(
    "phase",
    ["pending", "reading", "committing", pytest.param("after a crash", marks=pytest.mark.chaos)],
)
def test_cancel_in_every_phase(shop: Replication, cluster: Cluster, phase: str) -> None:
    client = shop.stand_in.client()
    with shop.source() as source:
        source.execute("update first set changed = (select max(changed) + 1 from first) where id = 1")
    if phase == "pending":
        with busy(shop, cluster, "raw_one"), busy(shop, cluster, "raw_two"):
            job_id = trigger(shop)
            assert client.job(job_id)["status"] == "pending"
            cancelled = client.cancel_job(job_id)
    else:
        moment = COMMITTING if phase == "committing" else READING
        database = shop.lake.database if phase == "committing" else shop.database
        with shop.cluster.connect(database) as other, locked(other, *moment) as waits:
            job_id = trigger(shop)
            waits()
            if phase == "after a crash":
                shop.stand_in.workers()[0].kill()
            cancelled = client.cancel_job(job_id)
    assert cancelled["status"] == "cancelled"
    assert client.job(job_id)["status"] == "cancelled"
    if phase == "pending":
        return
    # The connection is free again at once, and nothing is lost.
    assert shop.ended(trigger(shop))["status"] == "succeeded"
    assert_replicated(shop)


@contextmanager
def busy(shop: Replication, cluster: Cluster, schema: str) -> Iterator[None]:
    """Keep one of the stand-in's two places for jobs occupied."""
    other = replication(shop.stand_in, cluster, shop.lake, rows=1, schema=schema)
    with other.source() as source, locked(source, "first") as waits:
        job_id = trigger(other)
        waits()
        yield
    assert other.ended(job_id)["status"] == "succeeded"


def test_the_password_is_shown_nowhere(shop: Replication) -> None:
    secret = shop.cluster.password
    client = shop.stand_in.client()
    shown = client.request("GET", f"/sources/{shop.source_id}")
    assert shown["configuration"]["password"] == "**********"
    # What Airbyte's own interface sends back when only another field was edited.
    client.request("PATCH", f"/sources/{shop.source_id}", {"configuration": shown["configuration"]})
    with shop.source() as source, locked(source, "first") as waits:
        job_id = trigger(shop)
        waits()
        (worker,) = shop.stand_in.workers()
        process_list = f"{worker.cmdline()} {worker.environ()}"
    assert shop.ended(job_id)["status"] == "succeeded"
    wrong = {"configuration": {"password": f"{secret}-wrong", "port": shop.cluster.port}}
    client.request("PATCH", f"/sources/{shop.source_id}", wrong)
    job = shop.ended(trigger(shop))
    assert job["status"] == "failed"
    with pytest.raises(AirbyteRequestRefused, match="The source cannot be read") as unreadable:
        client.request("GET", "/streams", sourceId=shop.source_id)
    client.request("PATCH", f"/sources/{shop.source_id}", {"configuration": {"password": secret}})
    (attempt,) = details(shop, job["jobId"])
    assert "password authentication failed" in attempt["failureSummary"]["failures"][0]["internalMessage"]
    everything = shop.stand_in.everything_written() + str(details(shop, job["jobId"])) + str(unreadable.value)
    everything += process_list
    assert secret not in everything
    assert CLIENT_SECRET not in everything
    assert (shop.stand_in.home / "airbyte.db").stat().st_mode & 0o077 == 0


def test_it_says_that_it_is_a_stand_in(stand_in: StandIn) -> None:
    health = httpx.get(f"{stand_in.url}/api/public/v1/health", trust_env=False)
    available = httpx.get(f"{stand_in.url}/api/v1/health/", trust_env=False).json()
    assert "stand-in for Airbyte" in health.text
    assert available["available"] is True
    assert "stand-in" in available["standIn"]
    assert "This is Floe's stand-in for Airbyte" in stand_in.everything_written()
