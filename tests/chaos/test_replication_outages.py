"""The source's or the lake's server goes away in the middle of a sync and comes back."""

from __future__ import annotations

import pwd
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deployments.local import postgres
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
from tests.postgres_server import free_port

pytestmark = pytest.mark.chaos


@dataclass
class Server:
    """A PostgreSQL of a test's own, so that it can be stopped."""

    cluster: Cluster
    home: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        account = postgres.service_account()
        identity: dict[str, Any] = {"user": pwd.getpwnam(account).pw_uid, "cwd": "/"} if account else {}
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(
                postgres.serve_command(self.home / "data", self.cluster.port),
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity,
            )
        until(
            lambda: postgres.accepts_connections("127.0.0.1", self.cluster.port, self.cluster.passfile),
            "the server answers",
        )

    def stop(self) -> None:
        """Stop at once, without a word to those who are connected."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    home.mkdir()
    password = secrets.token_urlsafe(12)
    postgres.initialise(home / "data", password)
    passfile = postgres.write_passfile(home / "passfile", password)
    server = Server(Cluster(free_port(), password, passfile), home)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with running(tmp_path / "airbyte", "--retry-seconds", "0.2", "--attempts", "8") as stand_in:
        yield stand_in


def trigger(shop: Replication) -> int:
    return int(shop.stand_in.client().create_job(shop.connection_id)["jobId"])


def first_failure(shop: Replication, job_id: int) -> dict[str, Any]:
    """Return the only reason of the first attempt: with a server gone, other streams are not tried."""
    attempt = shop.stand_in.client().job_details(job_id)["attempts"][0]["attempt"]
    (failure,) = attempt["failureSummary"]["failures"]
    return dict(failure)


def assert_replicated(shop: Replication) -> None:
    query = "select id, v, changed from {} order by id"
    with connect(shop.lake) as lake, shop.source() as source:
        for stream in STREAMS:
            raw = lake.execute(query.format(f"raw_shop.{stream['name']}")).fetchall()
            assert raw == source.execute(query.format(stream["name"]).encode()).fetchall()


@pytest.mark.parametrize("table", ["first", "second", "third"])
def test_the_sources_server_dies_when_half_of_a_table_is_read(
    stand_in: StandIn, lake: DuckLakeSettings, tmp_path: Path, table: str
) -> None:
    with serving(tmp_path / "server") as server:
        shop = replication(stand_in, server.cluster, lake)
        with shop.source() as source:
            source.execute(f"alter table {table} rename to {table}_rows".encode())
            make_parking(source, table, f"{table}_rows", row=50)
        with suppress(psycopg.OperationalError), shop.source() as source, parked(source) as waits:
            job_id = trigger(shop)
            waits()
            server.stop()
        server.start()

        assert shop.ended(job_id)["status"] == "succeeded"
        failure = first_failure(shop, job_id)
        assert failure["streamDescriptor"]["name"] == table
        assert (failure["failureOrigin"], failure["retryable"]) == ("source", True)
        assert_replicated(shop)


def test_the_lakes_server_dies_at_a_commit(
    stand_in: StandIn, cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "server") as server:
        shop = replication(stand_in, cluster, lake_on(server, extension_directory, tmp_path))
        connection = server.cluster.connect(shop.lake.database)
        moment = locked(connection, "public.ducklake_snapshot", "share")
        # The first sync makes the lake, so there is nothing to lock before.
        with connect(shop.lake):
            pass
        with suppress(psycopg.OperationalError), moment as waits:
            job_id = trigger(shop)
            waits()
            server.stop()
        server.start()

        assert shop.ended(job_id)["status"] == "succeeded"
        assert first_failure(shop, job_id)["failureOrigin"] in ("destination", "replication")
        assert_replicated(shop)


def test_the_lakes_server_is_down(
    stand_in: StandIn, cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> None:
    with serving(tmp_path / "server") as server:
        shop = replication(stand_in, cluster, lake_on(server, extension_directory, tmp_path))
        server.stop()
        job_id = trigger(shop)
        until(lambda: len(stand_in.client().job_details(job_id)["attempts"]) > 1, "a second attempt")
        server.start()

        assert shop.ended(job_id)["status"] == "succeeded"
        failure = first_failure(shop, job_id)
        assert (failure["failureOrigin"], failure["failureType"]) == ("destination", "transient_error")
        assert "the lake does not answer" in failure["externalMessage"]
        assert_replicated(shop)


def lake_on(server: Server, extension_directory: Path, folder: Path) -> DuckLakeSettings:
    cluster = server.cluster
    return DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("lake"),
        passfile=cluster.passfile,
        data_path=folder / "lake",
        extension_directory=extension_directory,
    )
