"""The stand-in's jobs from outside: failures, crashes, cancellation, secrets."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blocks.airbyte_errors import AirbyteRequestRefused
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.airbyte_service import (
    CLIENT_SECRET,
    STREAMS,
    Replication,
    StandIn,
    locked,
    new_lake_in,
    replication,
    running,
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


def test_failing_streams_fail_the_job_and_hold_back_no_other(fresh: Replication) -> None:
    broken = {"name": "broken", "syncMode": "full_refresh_overwrite"}
    with fresh.source() as source:
        source.execute("create view broken as select 1/0 as id")
        fresh.change({"configurations": {"streams": [broken, *STREAMS]}})
        source.execute("alter table second rename to elsewhere")

    job = fresh.ended(trigger(fresh))

    assert job["status"] == "failed"
    attempts = details(fresh, job["jobId"])
    assert [attempt["status"] for attempt in attempts] == ["failed"] * 2
    for attempt in attempts:
        reasons = [failure["externalMessage"] for failure in attempt["failureSummary"]["failures"]]
        assert len(reasons) == 2
        assert "division by zero" in reasons[0]
        assert reasons[1] == "Stream public.second: there is no such table in the source"
    assert_replicated(fresh)


def test_a_changed_schema_fails_at_once_and_lets_the_other_streams_pass(shop: Replication) -> None:
    with shop.source() as source:
        source.execute("alter table first alter column changed type bigint")
        source.execute("insert into third values (500, 'x', 1)")
        job = shop.ended(trigger(shop))
        source.execute("alter table first alter column changed type int")

    assert job["status"] == "failed"
    (attempt,) = details(shop, job["jobId"])
    failure = attempt["failureSummary"]["failures"][0]
    assert (failure["failureType"], failure["failureOrigin"]) == ("config_error", "source")
    assert "column changed was INTEGER and is BIGINT now" in failure["externalMessage"]
    assert_replicated(shop, "third")


def test_a_lost_cursor_pauses_the_connection_until_somebody_has_looked(fresh: Replication) -> None:
    with fresh.source() as source:
        source.execute("alter table first rename column changed to altered")
        job = fresh.ended(trigger(fresh))
        source.execute("alter table first rename column altered to changed")

    assert job["status"] == "failed"
    assert len(details(fresh, job["jobId"])) == 1
    client, path = fresh.stand_in.client(), f"/connections/{fresh.connection_id}"
    assert client.request("GET", path)["status"] == "inactive"
    with pytest.raises(AirbyteRequestRefused, match=r"409: .* is inactive"):
        trigger(fresh)
    fresh.change({"status": "active"})
    assert fresh.ended(trigger(fresh))["status"] == "succeeded"
    assert_replicated(fresh)


@pytest.mark.parametrize(
    ("behaviour", "status", "columns"),
    [("ignore", "active", 3), ("propagate_columns", "active", 4), ("disable_connection", "inactive", 3)],
)
def test_what_a_new_column_does_is_the_connections_choice(
    fresh: Replication, behaviour: str, status: str, columns: int
) -> None:
    assert fresh.change({})["nonBreakingSchemaUpdatesBehavior"] == "ignore"
    fresh.ended(trigger(fresh))
    fresh.change({"nonBreakingSchemaUpdatesBehavior": behaviour})
    with fresh.source() as source:
        source.execute("alter table third add column w int default 1")

    job = fresh.ended(trigger(fresh))

    assert job["status"] == ("succeeded" if status == "active" else "failed")
    assert fresh.change({})["status"] == status
    with connect(fresh.lake) as lake:
        names = [row[0] for row in lake.execute("describe raw_shop.third").fetchall()]
    assert len([name for name in names if not name.startswith("_airbyte_")]) == columns


@pytest.mark.parametrize("job_type", ["clear", pytest.param("reset", marks=pytest.mark.thorough), "refresh"])
def test_clear_and_refresh_in_every_mode(fresh: Replication, job_type: str) -> None:
    fresh.ended(trigger(fresh))
    with fresh.source() as source:
        for stream in STREAMS:
            source.execute(f"delete from {stream['name']} where id = 7".encode())

    job = fresh.ended(trigger(fresh, job_type))

    assert (job["status"], job["jobType"]) == ("succeeded", job_type)
    if job_type != "refresh":
        with connect(fresh.lake) as lake:
            for stream in STREAMS:
                assert lake.execute(f"from raw_shop.{stream['name']}").fetchall() == []
        assert fresh.ended(trigger(fresh))["status"] == "succeeded"
    assert_replicated(fresh, "first", "second", "third")


def test_of_many_triggers_at_once_one_makes_a_job(shop: Replication) -> None:
    client = shop.stand_in.client()

    def outcome(_number: int) -> str:
        try:
            return str(client.create_job(shop.connection_id, "sync")["jobId"])
        except AirbyteRequestRefused as error:
            assert "409: A sync is already running for" in error.what
            return "refused"

    with shop.source() as source, locked(source, "first") as waits:
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(outcome, range(8)))
        waits()
    (made,) = set(outcomes) - {"refused"}
    assert outcomes.count("refused") == 7
    assert shop.ended(int(made))["status"] == "succeeded"


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
