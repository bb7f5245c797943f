"""The stand-in's API: Airbyte's own SDK, the shapes of its answers, what is refused and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from airbyte_api import AirbyteAPI, api, errors, models

from blocks.airbyte_errors import AirbyteRequestRefused
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.airbyte_service import (
    CLIENT_ID,
    CLIENT_SECRET,
    TERMINAL,
    Replication,
    StandIn,
    new_lake_in,
    replication,
    running,
    until,
)
from tests.airbyte_shapes import SHAPES, check
from tests.conftest import Cluster

FLAG = [{"fieldPath": ["flag"]}]
PUBLIC, CONFIG = "/api/public/v1", "/api/v1"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("airbyte"), "--token-seconds", "2") as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def shop(
    stand_in: StandIn,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Replication:
    """A connection shared by this module's tests."""
    lake = new_lake_in(tmp_path_factory.mktemp("shop"), cluster, extension_directory)
    return replication(stand_in, cluster, lake, rows=3)


@pytest.fixture(scope="module")
def odd_shop(shop: Replication) -> Replication:
    """The same, its source having tables that need a closer look."""
    with shop.source() as source:
        source.execute(
            'create table odd (id int primary key, flag boolean, v int, "V" int); create table twin (id int);'
            "create schema other; create table other.twin (id int)"
        )
    configuration = {"configuration": {"schemas": ["public", "other"]}}
    shop.stand_in.client().request("PATCH", f"/sources/{shop.source_id}", configuration)
    return shop


@pytest.fixture
def fresh(stand_in: StandIn, cluster: Cluster, lake: DuckLakeSettings) -> Replication:
    """A connection that was never synced."""
    return replication(stand_in, cluster, lake)


def plain(stand_in: StandIn, **how: Any) -> httpx.Client:
    """Return a client that hides nothing, authorised whatever becomes of its token."""
    airbyte = stand_in.client()

    def authorise(request: httpx.Request) -> httpx.Request:
        request.headers.setdefault("Authorization", f"Bearer {airbyte._bearer()}")
        return request

    return httpx.Client(base_url=stand_in.url, auth=authorise, trust_env=False, timeout=30, **how)


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
        ("GET", "/api/public/v1/sources?includeDeleted=true"),
        ("GET", "/api/public/v1/workspaces?workspaceIds=x"),
    ],
)
def test_what_it_lacks_is_answered_with_501_and_named(stand_in: StandIn, method: str, path: str) -> None:
    answer = plain(stand_in).request(method, path, json=None if method == "GET" else {})
    assert answer.status_code == 501
    assert path.partition("?")[0] in answer.json()["detail"]
    assert "stand-in" in answer.headers["x-stand-in"]


@pytest.mark.parametrize(
    ("configuration", "status", "words"),
    [
        ({"sourceType": "mysql"}, 501, "the source type mysql"),
        ({"replication_method": {"method": "CDC", "plugin": "pgoutput"}}, 422, "CDC cannot be had"),
        ({"replication_method": {"method": "Xmin"}}, 422, "Xmin cannot be had"),
        ({"replication_method": {"method": "Guess"}}, 422, "replication_method.method: Guess"),
        ({"replication_method": "CDC"}, 422, "configuration.replication_method: must be an object"),
        (
            {"replication_method": {"method": "Standard", "exclude_todays_data": True}},
            501,
            "replication_method.exclude_todays_data",
        ),
        ({"tunnel_method": {"tunnel_method": "SSH_KEY_AUTH", "tunnel_host": "x"}}, 501, "tunnel_host"),
        ({"ssl_mode": {"mode": "verify-ca", "ca_certificate": "x"}}, 501, "ssl_mode.ca_certificate"),
        ({"ssl_mode": {"mode": "disable' host='elsewhere"}}, 422, "configuration.ssl_mode"),
        ({"host": None}, 422, "configuration.host"),
        ({"port": "not a port"}, 422, "configuration.port"),
        ({"nonsense": 1}, 422, "configuration.nonsense"),
    ],
    ids=str,
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
        ({"name": "first", "mappers": [{"type": "hashing"}]}, 501, "the field mappers of a stream"),
        ({"name": "first", "destinationObjectName": "x"}, 501, "the field destinationObjectName of a stream"),
        ({"name": "first", "syncMode": "sometimes"}, 422, "streams.0.syncMode"),
        ({"name": "first", "cursorField": "changed"}, 422, "streams.0.cursorField"),
        ({"name": "first", "primaryKey": ["id"]}, 422, "streams.0.primaryKey.0"),
        ({"name": "twin"}, 400, "Stream twin is in the schemas other, public: give its namespace"),
        (
            {
                "name": "odd",
                "syncMode": "incremental_append",
                "cursorField": ["flag"],
                "selectedFields": FLAG,
            },
            400,
            "Stream odd: the cursor flag is boolean, which has no largest value",
        ),
        ({"name": "odd"}, 400, "Stream odd: the columns v and V differ in case only"),
    ],
    ids=str,
)
def test_a_stream_it_cannot_sync_is_refused(
    odd_shop: Replication, stream: dict[str, Any], status: int, words: str
) -> None:
    with pytest.raises(AirbyteRequestRefused, match=words) as refused:
        odd_shop.change({"configurations": {"streams": [stream]}})
    assert f"with {status}" in refused.value.what


def test_it_says_that_it_is_a_stand_in(stand_in: StandIn) -> None:
    health = httpx.get(f"{stand_in.url}/api/public/v1/health", trust_env=False)
    available = httpx.get(f"{stand_in.url}/api/v1/health/", trust_env=False).json()
    assert "stand-in for Airbyte" in health.text
    assert available["available"] is True
    assert "stand-in" in available["standIn"]
    assert "This is Floe's stand-in for Airbyte" in stand_in.everything_written()


def test_every_answer_has_the_shape_of_airbytes(fresh: Replication) -> None:
    """Every call that the stand-in offers, and every kind of refusal."""
    seen: set[str] = set()
    with plain(fresh.stand_in, event_hooks={"response": [lambda answer: seen.add(check(answer))]}) as client:
        credentials = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        for prefix in (PUBLIC, CONFIG):
            client.get(f"{prefix}/health")
            client.post(f"{prefix}/applications/token", json=credentials)
        workspace = client.post(f"{PUBLIC}/workspaces", json={"name": "shapes"}).json()["workspaceId"]
        client.get(f"{PUBLIC}/workspaces/{workspace}")
        connection = client.get(f"{PUBLIC}/connections/{fresh.connection_id}").json()
        job = client.post(
            f"{PUBLIC}/jobs", json={"jobType": "sync", "connectionId": fresh.connection_id}
        ).json()["jobId"]
        until(lambda: client.get(f"{PUBLIC}/jobs/{job}").json()["status"] in TERMINAL, "the job ends")
        client.post(f"{CONFIG}/jobs/get_without_logs", json={"id": job})
        client.delete(f"{PUBLIC}/jobs/{job}")
        refresh = {"connectionId": fresh.connection_id, "refreshMode": "Truncate"}
        one = {**refresh, "streams": [{"streamNamespace": "public", "streamName": "first"}]}
        refreshed = client.post(f"{CONFIG}/connections/refresh", json=one).json()["job"]["id"]
        until(lambda: client.get(f"{PUBLIC}/jobs/{refreshed}").json()["status"] in TERMINAL, "it ends")
        client.get(f"{PUBLIC}/streams", params={"sourceId": fresh.source_id, "ignoreCache": True})
        for kind in ("workspaces", "sources", "destinations", "connections", "jobs"):
            client.get(f"{PUBLIC}/{kind}")
        for kind in ("source", "destination"):
            path = f"{PUBLIC}/{kind}s/{connection[f'{kind}Id']}"
            shown = client.get(path).json()
            client.patch(path, json={"name": "renamed"})
            made = client.post(
                f"{PUBLIC}/{kind}s",
                json={
                    "name": "another",
                    "workspaceId": workspace,
                    "configuration": {f"{kind}Type": shown[f"{kind}Type"], **shown["configuration"]},
                },
            ).json()
            client.delete(f"{PUBLIC}/{kind}s/{made[f'{kind}Id']}")
        with fresh.source() as source:
            source.execute("alter table first rename to elsewhere")
        failed = client.post(
            f"{PUBLIC}/jobs", json={"jobType": "sync", "connectionId": fresh.connection_id}
        ).json()["jobId"]
        until(lambda: client.get(f"{PUBLIC}/jobs/{failed}").json()["status"] in TERMINAL, "the job fails")
        client.post(f"{CONFIG}/jobs/get_without_logs", json={"id": failed})
        with fresh.source() as source:
            source.execute("alter table elsewhere rename to first")
        client.patch(f"{PUBLIC}/connections/{fresh.connection_id}", json={"name": "renamed"})
        ends = {key: connection[key] for key in ("sourceId", "destinationId")}
        client.post(f"{PUBLIC}/connections", json=ends)
        client.delete(f"{PUBLIC}/connections/{fresh.connection_id}")
        client.get(f"{PUBLIC}/jobs/{2**70}")
        client.get(f"{PUBLIC}/tags")
        client.get(f"{PUBLIC}/jobs", headers={"Authorization": "Bearer guess"})
    assert seen == set(SHAPES)


@pytest.mark.parametrize("kind", ["workspaces", "sources", "destinations", "connections", "jobs"])
def test_an_unknown_id_is_answered_with_404_and_named(stand_in: StandIn, kind: str) -> None:
    with plain(stand_in) as client:
        answer = client.get(f"{PUBLIC}/{kind}/999999")
        assert answer.status_code == 404
        assert "999999" in answer.json()["detail"]


def test_a_slash_at_the_end_changes_nothing(stand_in: StandIn) -> None:
    with plain(stand_in) as client:
        for path in (f"{PUBLIC}/health", f"{CONFIG}/health", f"{PUBLIC}/workspaces"):
            with_slash = client.get(path + "/")
            assert (with_slash.status_code, with_slash.text) == (200, client.get(path).text)
        assert client.post(f"{CONFIG}/jobs/get_without_logs/", json={"id": 999999}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/workspaces", {}, "body.name"),
        ("POST", "/workspaces", ["name"], "valid dictionary"),
        ("POST", "/jobs", {"connectionId": "{connection}", "jobType": "dance"}, "body.jobType"),
        ("PATCH", "/sources/{source}", {"configuration": ["host"]}, "body.configuration: must be an object"),
        ("PATCH", "/connections/{connection}", {"configurations": ["first"]}, "body.configurations"),
        ("PATCH", "/connections/{connection}", {"configurations": {"streams": "first"}}, "streams"),
        ("PATCH", "/connections/{connection}", {"status": "asleep"}, "body.status"),
        ("PATCH", "/connections/{connection}", {"nonBreakingSchemaUpdatesBehavior": "x"}, "Behavior"),
        ("GET", "/jobs?limit=0", None, "limit"),
        ("GET", "/jobs?offset=-1", None, "offset"),
        ("GET", "/jobs?status=odd", None, "status"),
        ("GET", "/jobs?orderBy=size|DESC", None, "orderBy"),
        ("GET", "/jobs/first", None, "identity"),
    ],
    ids=str,
)
def test_a_wrong_value_is_answered_with_422_and_named(
    shop: Replication, method: str, path: str, body: Any, words: str
) -> None:
    ids = {"source": shop.source_id, "connection": shop.connection_id}
    if isinstance(body, dict) and "connectionId" in body:
        body["connectionId"] = shop.connection_id
    with plain(shop.stand_in) as client:
        answer = client.request(method, PUBLIC + path.format(**ids), json=body)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"nonBreakingSchemaUpdatesBehavior": "propagate_fully"}, "but never streams, which are declared"),
        ({"schedule": {"scheduleType": "cron", "cronExpression": "0 0 * * *"}}, "cronExpression"),
        ({"schedule": {"scheduleType": "cron"}}, "the schedule type cron: Prefect starts the syncs"),
        ({"tags": [{"name": "x"}]}, "the field tags of a connection"),
    ],
    ids=str,
)
def test_a_connection_it_cannot_honour_is_refused(
    shop: Replication, body: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirbyteRequestRefused, match=words) as refused:
        shop.change(body)
    assert "with 501" in refused.value.what


@pytest.mark.parametrize("prefix", [PUBLIC, CONFIG])
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"[]", 422), (b'"secret"', 422), (b"{", 401), (b"{}", 401), (b'{"client_id": ["x"]}', 401)],
)
def test_a_token_request_that_is_wrong_is_refused(
    stand_in: StandIn, prefix: str, body: bytes, status: int
) -> None:
    answer = httpx.post(f"{stand_in.url}{prefix}/applications/token", content=body, trust_env=False)
    assert answer.status_code == status
    assert answer.json()["status"] == status


def test_what_is_in_use_or_inactive_is_answered_with_409(fresh: Replication) -> None:
    with plain(fresh.stand_in) as client:
        used = client.delete(f"{PUBLIC}/sources/{fresh.source_id}")
        assert (used.status_code, used.json()["detail"]) == (
            409,
            f"source {fresh.source_id} is used by the connection shop",
        )
        fresh.change({"status": "inactive"})
        job = {"jobType": "sync", "connectionId": fresh.connection_id}
        paused = client.post(f"{PUBLIC}/jobs", json=job)
        assert (paused.status_code, paused.json()["title"]) == (409, "state-conflict")


def test_jobs_are_listed_by_workspace_status_and_type(fresh: Replication) -> None:
    client = fresh.stand_in.client()
    workspace = fresh.change({})["workspaceId"]
    jobs = [
        fresh.ended(int(client.create_job(fresh.connection_id, kind)["jobId"])) for kind in ("sync", "clear")
    ]
    newest = [jobs[1]["jobId"], jobs[0]["jobId"]]

    def listed(**query: Any) -> list[int]:
        return [job["jobId"] for job in client.request("GET", "/jobs", **query)["data"]]

    assert listed(workspaceIds=workspace) == newest
    assert listed(workspaceIds=workspace, includeDeleted="false") == newest
    assert listed(workspaceIds="another") == []
    assert listed(workspaceIds=workspace, orderBy="createdAt|ASC") == newest[::-1]
    assert listed(workspaceIds=workspace, jobType="clear") == newest[:1]
    assert listed(workspaceIds=workspace, status="failed") == []
    assert listed(workspaceIds=workspace, limit=1, offset=1) == newest[1:]
