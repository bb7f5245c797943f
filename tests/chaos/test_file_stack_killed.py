"""kill -9 of everything that moves files at once: store, queue, loader and warehouse; then a restart."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest
from file_stack import ROOT, FileStack, StoreProcess, new_stack, running_store

from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.chaos

GOOD = "day_id,item,quantity\n1,1,10\n1,2,20\n"
BAD = "day_id,item,quantity\n2,1,ten\n"


@contextmanager
def event_source(stack: FileStack) -> Iterator[subprocess.Popen[bytes]]:
    """Run the laptop's event source mapping in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deployments.local.event_source"],
        cwd=ROOT,
        env=os.environ | stack.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


@pytest.fixture
def cluster_of_its_own(tmp_path: Path) -> Iterator[PostgresServer]:
    folder = tmp_path / "postgres"
    folder.mkdir()
    made = PostgresServer(folder)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    with running_store(tmp_path / "store", "floe-test-killed") as running:
        yield running


def until(wanted: dict[str, str], stack: FileStack) -> None:
    """Wait until these keys have these statuses."""
    deadline = time.monotonic() + 60
    found: dict[str, str] = {}
    while found != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
        # The tables are made with the first file.
        with suppress(duckdb.CatalogException):
            found = dict(stack.query("select key, status from ops.csv_files"))


def test_files_quarantine_and_verdicts_survive_kill_9_of_everything(
    store: StoreProcess, cluster_of_its_own: PostgresServer, extension_directory: Path, tmp_path: Path
) -> None:
    stack = new_stack(store, cluster_of_its_own, extension_directory, tmp_path)
    decided = {"landing/stock/good.csv": "loaded", "landing/stock/bad.csv": "quarantined"}
    with event_source(stack) as process:
        stack.put("landing/stock/good.csv", GOOD)
        stack.put("landing/stock/bad.csv", BAD)
        until(decided, stack)
        before = (
            stack.query("select * from ops.csv_files order by key"),
            stack.verdict("landing/stock/bad.csv"),
        )
        stack.put("landing/stock/late.csv", GOOD.replace("\n1,", "\n3,"))
        for victim in (process, store, cluster_of_its_own):
            victim.kill()
    stack.forget_connection()
    cluster_of_its_own.start()
    store.start()

    known = "select * from ops.csv_files where key <> 'landing/stock/late.csv' order by key"
    after = (stack.query(known), stack.verdict("landing/stock/bad.csv"))
    assert after == before
    ((bad_file,),) = stack.query("select file_id from ops.csv_files where status = 'quarantined'")
    folder = f"quarantine/stock/{bad_file}/"
    listed = stack.s3.list_objects_v2(Bucket=stack.store.bucket, Prefix=folder)["Contents"]
    copies = [each["Key"] for each in listed if not each["Key"].endswith(".json")]
    assert [stack.object(key).read() for key in copies] == [BAD.encode()]
    assert after[1]["counts"] == {"quantity.type": 1}

    # What the killed processes had not decided is loaded when it is asked for again, and nothing twice.
    loader = stack.loader()
    loader.load(stack.ref("landing/stock/late.csv"))
    loader.close()
    until(decided | {"landing/stock/late.csv": "loaded"}, stack)
    rows = stack.query("select day_id, item, quantity from raw_files.stock order by day_id, item")
    assert rows == [(1, 1, 10), (1, 2, 20), (3, 1, 10), (3, 2, 20)]
