"""The flow `replicate` under a real Prefect server, against the stand-in and a real lake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL

from blocks.airbyte_errors import AirbyteSyncFailed
from blocks.settings import ROOT
from blocks.warehouse import Warehouse
from flows.replicate import artifact_key, replicate
from tests.airbyte_service import Replication, locked, new_lake_in, replication, running, until
from tests.conftest import Cluster


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
        source.execute("alter table third rename column v to w")
    with pytest.raises(AirbyteSyncFailed, match="column v is gone from the source"):
        replicate("shop")


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("replicate", "crm", "customer_address"), "replicate-crm-customer-address"),
        (("replicate", "crm", 'Odd "Näme"!'), "replicate-crm-odd-n-me"),
    ],
    ids=["underscores", "everything else"],
)
def test_artifact_keys_are_what_prefect_accepts(parts: tuple[str, ...], key: str) -> None:
    assert artifact_key(*parts) == key
