"""The flow `replicate` under a real Prefect server, against the stand-in and a real lake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State, StateType
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Scheduled
from pydantic import SecretStr

from blocks.airbyte_errors import AirbyteSyncFailed, NoSuchStream
from blocks.airbyte_streams import ReplicatedStream
from blocks.airbyte_watch import JobProgress, StreamCounts
from blocks.schema_drift import SourceSchemaChanged
from blocks.settings import ROOT
from blocks.source_database import SourceDatabase
from blocks.warehouse import Warehouse
from flows.replicate import replicate
from flows.stream_bars import StreamBars, artifact_key, bar_key
from tests.airbyte_script import CANCEL, CREATE, block, error, job, script
from tests.airbyte_service import Replication, locked, new_lake_in, replication, running, until
from tests.conftest import Cluster
from tests.flaky_port import flaky_port
from tests.scripted_server import Answer, scripted
from tests.step_runs import tries


@pytest.fixture(scope="module")
def shop(
    prefect_server: None,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Replication]:
    """A connection on a stand-in whose blocks a real Prefect server holds."""
    home = tmp_path_factory.mktemp("replicate")
    lake = new_lake_in(home, cluster, extension_directory)
    with running(home / "airbyte") as stand_in:
        shop = replication(stand_in, cluster, lake)
        shop.block().save("shop", overwrite=True)
        Warehouse(target=lake).save("warehouse", overwrite=True)
        yield shop


def artifacts(*keys: str) -> dict[str, list[Any]]:
    """Return the artifacts of these keys as the server has them, oldest first."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=list(keys))))
    found.sort(key=lambda artifact: str(artifact.created))
    return {key: [artifact for artifact in found if artifact.key == key] for key in keys}


def test_replicate_syncs_shows_bars_and_leaves_a_row_per_stream(shop: Replication) -> None:
    boundary = len(range(6, 101, 7))
    first, second = replicate("shop"), replicate("shop")

    assert (first.rows_read, first.rows_written) == (300, 300)
    assert {s.stream: (s.rows_read, s.rows_written) for s in second.streams} == {
        "first": (boundary, 0),
        "second": (boundary, boundary),
        "third": (100, 0),
    }
    bars = artifacts(
        "replicate-shop-first", "replicate-shop-second", "replicate-shop-third", "replicate-shop"
    )
    table = [json.loads(found.data) for found in bars.pop("replicate-shop")]
    assert [row["rows written"] for row in table[0]] == [100, 100, 100]
    assert [[found.data for found in bar] for bar in bars.values()] == [[100.0, 100.0]] * 3
    with Warehouse.load("warehouse").connect() as database:
        rows = database.execute(
            "select stream, status, rows_written, started_at <= finished_at, emitted_at from ops.syncs "
            f"where sync_id = {second.job_id} order by stream"
        ).fetchall()
    assert rows == [
        ("first", "succeeded", 0, True, None),
        ("second", "succeeded", boundary, True, None),
        ("third", "succeeded", 0, True, None),
    ]


def test_a_cancelled_run_takes_its_sync_with_it(shop: Replication) -> None:
    command = [sys.executable, "-c", "from flows.replicate import replicate; replicate('shop')"]
    client, key = shop.stand_in.client(), "replicate-shop-first"
    before = len(artifacts(key)[key])
    with shop.source() as source, locked(source, "second") as waits:
        environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
        run = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        try:
            waits()
            (job,) = [job for job in client.jobs(shop.connection_id) if job["status"] == "running"]
            # The run is waiting for the job once it shows the bar of its first stream.
            until(lambda: len(artifacts(key)[key]) > before, "a bar")
            run.send_signal(signal.SIGTERM)
            run.wait(60)
        finally:
            run.kill()
        assert shop.ended(job["jobId"])["status"] == "cancelled"


def test_a_failed_sync_fails_the_run_with_airbytes_reason(shop: Replication) -> None:
    with shop.source() as source:
        source.execute("alter table third rename to fourth")
    with pytest.raises(AirbyteSyncFailed, match=r"public\.third: there is no such table in the source"):
        replicate("shop")
    with shop.source() as source:
        source.execute("alter table fourth rename to third")
    assert statuses(shop.stand_in.client().jobs(shop.connection_id)[0]["jobId"]) == {"failed"}


def test_a_sync_that_was_lost_sight_of_is_waited_for_again_and_not_begun_twice(shop: Replication) -> None:
    # The server lists no job, so whoever asks it for a sync again would get another.
    with scripted(script(get=[error(503), Answer(body=job("succeeded"))])) as server:
        block(server.url, tolerated_poll_failures=0).save("crm", overwrite=True)
        ended = replicate("crm", first_pause_seconds=0.01, return_state=True)
        assert ended.result().job_id == 7
        assert tries(ended, "sync", "record the sync") == {"sync": 2, "record the sync": 1}
        assert server.times(CREATE) == 1


@pytest.mark.thorough
def test_a_stalled_sync_is_begun_anew_and_a_failed_one_is_not(shop: Replication) -> None:
    def status(_: int) -> Answer:
        return Answer(body=job("running" if server.times(CREATE) == 1 else "failed"))

    with scripted(script(get=status)) as server:
        block(server.url, stall_seconds=0.05).save("crm", overwrite=True)
        ended = replicate("crm", first_pause_seconds=0.01, return_state=True)
        assert isinstance(ended.result(raise_on_failure=False), AirbyteSyncFailed)
        assert tries(ended, "sync") == {"sync": 2}
        assert (server.times(CREATE), server.times(CANCEL)) == (2, 1)


def test_a_warehouse_that_is_away_for_a_moment_gets_its_record_in_the_same_run(shop: Replication) -> None:
    with flaky_port(shop.lake.port) as flaky, scripted(script()) as server:
        block(server.url).model_copy(update={"name": "away"}).save("away", overwrite=True)
        Warehouse(target=shop.lake.model_copy(update={"port": flaky.port})).save("warehouse", overwrite=True)
        flaky.hang_ups[b""] = 1
        ended = replicate("away", first_pause_seconds=0.01, return_state=True)
        Warehouse(target=shop.lake).save("warehouse", overwrite=True)
        assert tries(ended, "sync", "record the sync") == {"sync": 1, "record the sync": 2}
        assert (ended.type, server.times(CREATE)) == (StateType.COMPLETED, 1)


def statuses(job_id: int) -> set[str]:
    """Return how `ops.syncs` says that a sync ended; nothing if it does not say."""
    with Warehouse.load("warehouse").connect() as database:
        rows = database.execute(f"select distinct status from ops.syncs where sync_id = {job_id}").fetchall()
    return {status for (status,) in rows}


def test_a_run_that_died_before_recording_is_tried_again_without_a_second_sync(shop: Replication) -> None:
    client = shop.stand_in.client()
    with get_client(sync_client=True) as prefect:
        run = prefect.create_flow_run(replicate, parameters={"source": "shop"})

        def attempt() -> State[Any]:
            state: State[Any] = run_flow(
                replicate,
                flow_run=prefect.read_flow_run(run.id),
                parameters={"source": "shop", "first_pause_seconds": 0.01},
                return_type="state",
            )
            return state

        # Its warehouse is away, so the run ends after the sync has succeeded.
        Warehouse(target=shop.lake.model_copy(update={"port": 1})).save("warehouse", overwrite=True)
        first = attempt()
        (synced, *_) = client.jobs(shop.connection_id)
        Warehouse(target=shop.lake).save("warehouse", overwrite=True)
        prefect.set_flow_run_state(run.id, Scheduled(name="AwaitingRetry"), force=True)
        second = attempt()

    assert (first.type, second.type) == (StateType.FAILED, StateType.COMPLETED)
    assert synced["status"] == "succeeded"
    assert client.jobs(shop.connection_id)[0]["jobId"] == synced["jobId"]
    assert statuses(synced["jobId"]) == {"succeeded"}


def test_a_sync_whose_run_never_recorded_it_is_recorded_by_the_next_run(shop: Replication) -> None:
    forgotten = shop.block().trigger()
    forgotten.wait_for_completion()
    assert statuses(forgotten.job_id) == set()
    replicate("shop")
    assert statuses(forgotten.job_id) == {"succeeded"}


@pytest.fixture
def guarded(shop: Replication) -> Iterator[Replication]:
    """The shop with its source's block, its streams declared; both taken back afterwards."""
    streams = tuple(
        ReplicatedStream(
            namespace="public", name=name, raw_schema="raw_shop", raw_table=name, primary_key=("id",)
        )
        for name in ("first", "second", "third")
    )
    source = SourceDatabase(
        host="127.0.0.1",
        port=shop.cluster.port,
        database=shop.database,
        user="floe",
        password=SecretStr(shop.cluster.password),
    )
    source.save("shop-source", overwrite=True)
    shop.block(streams=streams).save("shop", overwrite=True)
    yield shop
    SourceDatabase.delete("shop-source")
    shop.block().save("shop", overwrite=True)


def test_a_source_that_has_changed_is_told_of_and_a_lost_key_stops_the_run(guarded: Replication) -> None:
    newest = guarded.block().newest_job_id
    replicate("shop")
    with guarded.source() as source:
        source.execute("alter table first add column extra text")
        replicate("shop")
        rows = json.loads(artifacts("replicate-shop")["replicate-shop"][-1].data)
        assert {row["stream"]: row["changed in the source"] for row in rows} == {
            "first": "column extra (text) is new",
            "second": "",
            "third": "",
        }
        before = newest()
        source.execute("alter table second drop constraint second_pkey")
        ended = replicate("shop", return_state=True)
        with pytest.raises(SourceSchemaChanged, match=r"public\.second: no valid unique index"):
            ended.result()
        assert tries(ended, "look at the source") == {"look at the source": 1}
        source.execute("alter table second add primary key (id)")
    assert newest() == before


@pytest.mark.thorough
def test_a_refresh_reads_one_stream_from_the_beginning_and_leaves_the_others(guarded: Replication) -> None:
    replicate("shop")
    # No sync reads these rows again: its cursor is past them.
    with Warehouse.load("warehouse").connect() as database:
        database.execute("delete from raw_shop.first where changed < 6")
        others = database.execute("select count(*) from raw_shop.second").fetchall()
    result = replicate("shop", refresh=True, streams=["public.first"])

    assert [(stream.stream, stream.rows_read) for stream in result.streams] == [("first", 100)]
    with Warehouse.load("warehouse").connect() as database:
        assert database.execute("select count(*) from raw_shop.first").fetchall() == [(100,)]
        assert database.execute("select count(*) from raw_shop.second").fetchall() == others
        recorded = f"select stream from ops.syncs where sync_id = {result.job_id}"
        assert database.execute(recorded).fetchall() == [("first",)]
    after = {stream.stream: (stream.rows_read, stream.rows_written) for stream in replicate("shop").streams}
    assert after["first"] == (len(range(6, 101, 7)), 0)


def test_only_a_refresh_may_be_of_some_streams_and_only_of_those_there_are(guarded: Replication) -> None:
    newest = guarded.block().newest_job_id()
    with pytest.raises(NoSuchStream, match="only a refresh may be of some"):
        replicate("shop", streams=["first"])
    with pytest.raises(NoSuchStream, match=r"shop has no stream 'fist': public\.first, public\.second"):
        replicate("shop", refresh=True, streams=["fist"])
    assert guarded.block().newest_job_id() == newest


PROGRESS = JobProgress(
    job_id=7,
    status="running",
    started_at=datetime(2003, 1, 2, tzinfo=UTC),
    updated_at=datetime(2003, 1, 2, tzinfo=UTC),
    streams=(StreamCounts(namespace="public", name="customer", rows_read=5, estimated=10),),
)


def test_a_bar_that_prefect_does_not_take_is_no_reason_to_end_a_sync(
    prefect_server: None, caplog: pytest.LogCaptureFixture
) -> None:
    calls = {"POST /artifacts/": [Answer(500, {"detail": "database is locked"})]}
    bars = StreamBars("crm")
    with (
        scripted(calls) as server,
        temporary_settings({PREFECT_API_URL: server.url, PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        bars.show(PROGRESS)
        bars.show(PROGRESS)
        # What was not shown is tried again.
        assert server.times("POST /artifacts/") == 2
    assert "Prefect's API did not take a progress bar" in caplog.text


@pytest.mark.parametrize(
    ("source", "namespace", "name", "key"),
    [
        ("crm", "public", "customer_address", "replicate-crm-customer-address"),
        ("crm", None, "customer", "replicate-crm-customer"),
        ("crm", "public", 'Odd "Näme"!', "replicate-crm-odd-n-me-2e58253e"),
    ],
    ids=["underscores", "no schema", "everything else"],
)
def test_a_bars_key_is_what_prefect_accepts(source: str, namespace: str | None, name: str, key: str) -> None:
    assert bar_key(source, namespace, name) == key


def test_no_two_streams_share_a_bar() -> None:
    names = ["a_b", "a-b", "A_b", "a b", "a__b", "b", "B"]
    streams = [
        (source, schema, name)
        for source in ("crm", "crm_a")
        for schema in ("public", "a", "A", "north_a")
        for name in names
    ]
    tables = [artifact_key("replicate", source) for source in ("crm", "crm_a", "crm_a_b")]
    assert len({*(bar_key(*stream) for stream in streams), *tables}) == len(streams) + len(tables)
