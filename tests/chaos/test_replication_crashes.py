"""kill -9 of worker, service and flow at every step of a sync: afterwards nothing is missing or twice.

Every step is held open from outside, by locks in the source and in the lake's catalog, never by time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from prefect.settings import PREFECT_API_URL

from blocks.settings import ROOT
from blocks.warehouse import Warehouse
from flows.replicate import replicate
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.airbyte_service import (
    STREAMS,
    Replication,
    StandIn,
    locked,
    make_parking,
    parked,
    replication,
    running,
    until,
)
from tests.conftest import Cluster

pytestmark = pytest.mark.chaos

TABLES = [str(stream["name"]) for stream in STREAMS]
MODES = {"first": "deduped", "second": "append", "third": "overwrite"}
SNAPSHOT, FILES = "public.ducklake_snapshot", "public.ducklake_data_file"
Waits = Callable[[], Any]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("airbyte"), "--retry-seconds", "0.05") as stand_in:
        yield stand_in


@pytest.fixture
def shop(stand_in: StandIn, cluster: Cluster, lake: DuckLakeSettings) -> Replication:
    return replication(stand_in, cluster, lake)


def trigger(shop: Replication) -> int:
    return int(shop.stand_in.client().create_job(shop.connection_id)["jobId"])


def synced(shop: Replication) -> None:
    assert shop.ended(trigger(shop))["status"] == "succeeded"


def change(shop: Replication, *tables: str) -> None:
    """Change a row and add one, in these tables; only there will a sync have something to write."""
    with shop.source() as source:
        # The row at the boundary is read again by the append, and would be written again.
        source.execute("delete from second where changed = (select max(changed) from second)")
        for table in tables:
            # A view that its readers can be parked in stands before its rows.
            (name,) = source.execute(
                "select coalesce(to_regclass(%s), to_regclass(%s))::text", [f"{table}_rows", table]
            ).fetchone() or ("",)
            source.execute(
                f"update {name} set v = 'changed', changed = 60 where id = 50;"
                f"insert into {name} values (1000, 'new', 61)".encode()
            )


def make_parkable(shop: Replication, table: str) -> None:
    with shop.source() as source:
        source.execute(f"alter table {table} rename to {table}_rows".encode())
        make_parking(source, table, f"{table}_rows", row=50)


def in_source(shop: Replication, table: str) -> list[tuple[Any, ...]]:
    with shop.source() as source:
        return source.execute(f"select id, v, changed from {table} order by 1, 2, 3".encode()).fetchall()


def in_lake(shop: Replication, table: str) -> list[tuple[Any, ...]]:
    with connect(shop.lake) as lake:
        return lake.execute(f"select id, v, changed from raw_shop.{table} order by 1, 2, 3").fetchall()


class Expected:
    """What the lake must hold after the next sync, by the rules of each mode."""

    def __init__(self, shop: Replication, *, synced_before: bool) -> None:
        self._shop = shop
        self._appended = in_lake(shop, "second") if synced_before else []
        self._bound = max((row[2] for row in self._appended), default=-1)

    def check(self, *, syncs: str = "one") -> None:
        for table in ("first", "third"):
            assert in_lake(self._shop, table) == in_source(self._shop, table)
        come = [row for row in in_source(self._shop, "second") if row[2] >= self._bound]
        appended, expected = in_lake(self._shop, "second"), sorted([*self._appended, *come])
        # A further sync appends the boundary's rows once more, as Airbyte's does.
        assert appended == expected if syncs == "one" else set(appended) == set(expected)


@contextmanager
def measuring(shop: Replication, table: str) -> Iterator[Waits]:
    """The sync is about to count the table's rows: for the later tables this is between two streams."""
    with shop.source() as source, locked(source, table) as waits:
        yield waits


@contextmanager
def reading(shop: Replication, table: str) -> Iterator[Waits]:
    """The sync has read half of the table."""
    with shop.source() as source, parked(source) as waits:
        yield waits


@contextmanager
def staged(shop: Replication, table: str) -> Iterator[Waits]:
    """The sync has read everything and is about to look at what is replicated already.

    Few rows are kept in the lake's catalog, in a table of their own for each replicated table.
    """
    with shop.cluster.connect(shop.lake.database) as lake:
        kept = lake.execute(
            "select i.table_name from ducklake_inlined_data_tables i join ducklake_table t using (table_id) "
            "where t.table_name = %s and t.end_snapshot is null",
            [table],
        ).fetchall()
        assert len(kept) == 1
        with locked(lake, f"public.{kept[0][0]}", "access exclusive") as waits:
            yield waits


@contextmanager
def committing(shop: Replication, table: str) -> Iterator[Waits]:
    """The sync is writing its new version of the lake."""
    with shop.cluster.connect(shop.lake.database) as lake, locked(lake, SNAPSHOT, "share") as waits:
        yield waits


@contextmanager
def committed(shop: Replication, table: str) -> Iterator[Waits]:
    """The lake's new version is there, and the worker, which stands still, does not know it."""
    with shop.cluster.connect(shop.lake.database) as lake, late_commits(lake) as (waits, release):

        def committed_unknown() -> None:
            before = versions(lake)
            waits()
            (worker,) = shop.stand_in.workers()
            worker.suspend()
            release()
            until(lambda: versions(lake) > before, "the new version is there")

        yield committed_unknown


def versions(lake: psycopg.Connection) -> int:
    row = lake.execute("select count(*) from ducklake_snapshot").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def late_commits(lake: psycopg.Connection) -> Iterator[tuple[Waits, Callable[[], None]]]:
    """Hold back every new version of the lake within its very COMMIT."""
    lake.execute(
        """
        create or replace function hold_back() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(901); return null; end $$;
        create constraint trigger hold_back after insert on ducklake_snapshot
        deferrable initially deferred for each row execute function hold_back()
        """
    )
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and objid = 901 and not granted"
    lake.execute("select pg_advisory_lock(901)")
    try:
        yield (
            lambda: until(lambda: lake.execute(waiting.encode()).fetchone() != (0,), "a commit waits"),
            lambda: lake.execute("select pg_advisory_unlock(901)") and None,
        )
    finally:
        lake.execute("select pg_advisory_unlock_all()")
        lake.execute("drop trigger hold_back on ducklake_snapshot")


def kill(shop: Replication, victim: str) -> None:
    (worker,) = shop.stand_in.workers()
    if victim == "worker":
        worker.kill()
    else:
        shop.stand_in.stop(signal.SIGKILL)
        # A worker that stands still cannot notice that its service is gone.
        with suppress(psutil.NoSuchProcess):
            worker.resume()
    worker.wait(20)


STEPS = {"measuring": measuring, "reading": reading, "committing": committing, "committed": committed}


@pytest.mark.parametrize("victim", ["worker", "service"])
@pytest.mark.parametrize("table", TABLES, ids=MODES.get)
@pytest.mark.parametrize("step", STEPS)
def test_a_later_sync_survives(shop: Replication, step: str, table: str, victim: str) -> None:
    if step == "reading":
        make_parkable(shop, table)
    synced(shop)
    change(shop, *(TABLES if step in ("measuring", "reading") else [table]))
    expected = Expected(shop, synced_before=True)

    crash(shop, STEPS[step], table, victim)

    expected.check()


@pytest.mark.parametrize("victim", ["worker", "service"])
def test_a_merge_that_has_not_begun_survives(shop: Replication, victim: str) -> None:
    synced(shop)
    with shop.source() as source:
        source.execute("update first set v = 'a little', changed = 59 where id = 7")
        source.execute("delete from second where changed = 6")
    synced(shop)
    change(shop, *TABLES)
    expected = Expected(shop, synced_before=True)

    crash(shop, staged, "first", victim)

    expected.check()


@pytest.mark.parametrize("victim", ["worker", "service"])
@pytest.mark.parametrize("table", TABLES, ids=MODES.get)
def test_a_first_sync_survives(shop: Replication, table: str, victim: str) -> None:
    make_parkable(shop, table)
    expected = Expected(shop, synced_before=False)

    crash(shop, reading, table, victim)

    expected.check()


def crash(shop: Replication, step: Callable[..., Any], table: str, victim: str) -> None:
    """Run a sync, kill somebody at this step, and wait until the job has succeeded all the same."""
    with step(shop, table) as waits:
        job_id = trigger(shop)
        waits()
        kill(shop, victim)
    if victim == "service":
        shop.stand_in.start()
    assert shop.ended(job_id)["status"] == "succeeded"
    attempts = shop.stand_in.client().job_details(job_id)["attempts"]
    assert [item["attempt"]["status"] for item in attempts] == ["failed", "succeeded"]


def test_a_pending_job_survives_the_service(
    shop: Replication, stand_in: StandIn, cluster: Cluster, new_lake: Callable[[], DuckLakeSettings]
) -> None:
    busy = [replication(stand_in, cluster, new_lake(), rows=1) for _ in range(2)]
    expected = Expected(shop, synced_before=False)
    with ExitStack() as held:
        sources = [held.enter_context(other.source()) for other in busy]
        waits = [held.enter_context(locked(source, "first")) for source in sources]
        jobs = [trigger(other) for other in busy]
        for wait in waits:
            wait()
        job_id = trigger(shop)
        assert stand_in.client().job(job_id)["status"] == "pending"
        workers = stand_in.workers()
        stand_in.stop(signal.SIGKILL)
        for worker in workers:
            worker.wait(20)
    stand_in.start()
    for other, job in zip([*busy, shop], [*jobs, job_id], strict=True):
        assert other.ended(job)["status"] == "succeeded"
    expected.check()


def test_the_pause_before_a_retry_survives_the_service(
    cluster: Cluster, lake: DuckLakeSettings, tmp_path: Path
) -> None:
    with running(tmp_path / "airbyte", "--retry-seconds", "600") as stand_in:
        shop = replication(stand_in, cluster, lake)
        expected = Expected(shop, synced_before=False)
        with measuring(shop, "second") as waits:
            job_id = trigger(shop)
            waits()
            kill(shop, "worker")
        until(lambda: stand_in.client().job(job_id)["status"] == "incomplete", "the pause")
        stand_in.stop(signal.SIGKILL)
        stand_in.start()
        assert shop.ended(job_id)["status"] == "succeeded"
        expected.check()


@pytest.mark.parametrize("when", ["while the job runs", "before the sync is recorded"])
def test_the_flow_survives(prefect_server: None, shop: Replication, when: str) -> None:
    shop.block().save("shop", overwrite=True)
    Warehouse(target=shop.lake).save("warehouse", overwrite=True)
    replicate("shop")
    changed = TABLES if when == "while the job runs" else []
    change(shop, *changed)
    expected = Expected(shop, synced_before=True)
    # Without changes the only version of the lake is that of the sync's record.
    step = measuring if changed else committing
    command = [sys.executable, "-c", "from flows.replicate import replicate; replicate('shop')"]
    with step(shop, "second") as waits:
        environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
        flow = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        waits()
        flow.kill()
        flow.wait(20)

    result = replicate("shop")

    expected.check(syncs="one or two")
    with Warehouse.load("warehouse").connect() as database:
        recorded = database.execute(
            f"select stream from ops.syncs where sync_id = {result.job_id} order by 1"
        ).fetchall()
        twice = database.execute(
            "select 1 from ops.syncs group by sync_id, stream having count(*) > 1"
        ).fetchall()
    assert recorded == [(table,) for table in TABLES]
    assert twice == []
