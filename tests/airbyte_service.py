"""The stand-in as a real process, and what tests do to it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_client import AirbyteClient, Credentials
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.conftest import Cluster
from tests.postgres_server import free_port

CLIENT_ID, CLIENT_SECRET = "test-client", "test-secret-never-shown"
TERMINAL = ("succeeded", "failed", "cancelled")


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for something that must happen; the time only limits how long a broken test hangs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")


@dataclass
class StandIn:
    """A running stand-in."""

    home: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        secrets = {"FLOE_AIRBYTE__CLIENT_ID": CLIENT_ID, "FLOE_AIRBYTE__CLIENT_SECRET": CLIENT_SECRET}
        command = [sys.executable, "-m", "deployments.local.airbyte", "--port", str(self.port)]
        self.home.mkdir(exist_ok=True)
        with (self.home / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--home", str(self.home), *self.options],
                env={**os.environ, **secrets},
                stdout=log,
                stderr=log,
            )
        until(self.answers, "the stand-in answers")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "service.log").read_text()
        try:
            return httpx.get(f"{self.url}/api/public/v1/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def client(self, **how: Any) -> AirbyteClient:
        return AirbyteClient(self.url, Credentials(client_id=CLIENT_ID, client_secret=CLIENT_SECRET), **how)

    def server(self) -> AirbyteServer:
        return AirbyteServer(server_url=self.url, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)

    def everything_written(self) -> str:
        """Return all it wrote for people: its logs, and its records without the configuration."""
        return "".join(file.read_text() for file in self.home.rglob("*.log"))


@contextmanager
def running(home: Path, *options: str) -> Iterator[StandIn]:
    stand_in = StandIn(home, free_port(), options)
    stand_in.start()
    try:
        yield stand_in
    finally:
        stand_in.stop(signal.SIGTERM)


@dataclass
class Replication:
    """A source database, a lake, and a connection between them on a stand-in."""

    stand_in: StandIn
    cluster: Cluster
    database: str
    lake: DuckLakeSettings
    connection_id: str
    source_id: str

    def block(self, **fields: Any) -> AirbyteConnection:
        return AirbyteConnection(
            server=self.stand_in.server(),
            connection_id=self.connection_id,
            name="shop",
            destination_schema="raw_shop",
            **{"poll_seconds": 0.1, **fields},
        )

    def source(self) -> psycopg.Connection:
        return self.cluster.connect(self.database)

    def change(self, what: dict[str, Any]) -> dict[str, Any]:
        """Change the connection; return it as it is then."""
        client = self.stand_in.client()
        return dict(client.request("PATCH", f"/connections/{self.connection_id}", what))

    def ended(self, job_id: int) -> dict[str, Any]:
        client = self.stand_in.client()
        return until(
            lambda: job if (job := client.job(job_id))["status"] in TERMINAL else None, f"job {job_id} ends"
        )


STREAMS = [
    {"name": "first", "syncMode": "incremental_deduped_history", "cursorField": ["changed"]},
    {"name": "second", "syncMode": "incremental_append", "cursorField": ["changed"]},
    {"name": "third", "syncMode": "full_refresh_overwrite"},
]


def new_lake_in(folder: Path, cluster: Cluster, extension_directory: Path) -> DuckLakeSettings:
    """Return the settings of an empty lake whose files are in `folder`, for longer than one test."""
    return DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("lake"),
        passfile=cluster.passfile,
        data_path=folder / "lake",
        extension_directory=extension_directory,
    )


def replication(
    stand_in: StandIn, cluster: Cluster, lake: DuckLakeSettings, rows: int = 100, schema: str = "raw_shop"
) -> Replication:
    """Make a database with three tables of `rows` rows each, and a connection that replicates them."""
    database = cluster.create_database("shop")
    with cluster.connect(database) as source:
        for stream in STREAMS:
            source.execute(
                f"create table {stream['name']} (id int primary key, v text, changed int not null); "
                f"insert into {stream['name']} "
                f"select i, 'v' || i, i % 7 from generate_series(1, {rows}) i".encode()
            )
    client = stand_in.client()
    workspace = client.request("POST", "/workspaces", {"name": "test"})["workspaceId"]
    source_id = client.request(
        "POST",
        "/sources",
        {
            "name": "shop",
            "workspaceId": workspace,
            "configuration": {
                "sourceType": "postgres",
                "host": "127.0.0.1",
                "port": cluster.port,
                "database": database,
                "username": "floe",
                "password": cluster.password,
            },
        },
    )["sourceId"]
    destination_id = client.request(
        "POST",
        "/destinations",
        {
            "name": "lake",
            "workspaceId": workspace,
            "configuration": {"destinationType": "ducklake", **lake.model_dump(mode="json")},
        },
    )["destinationId"]
    connection = client.request(
        "POST",
        "/connections",
        {
            "name": "shop",
            "sourceId": source_id,
            "destinationId": destination_id,
            "namespaceDefinition": "custom_format",
            "namespaceFormat": schema,
            "configurations": {"streams": STREAMS},
        },
    )
    return Replication(stand_in, cluster, database, lake, connection["connectionId"], source_id)


@contextmanager
def locked(
    connection: psycopg.Connection, table: str, mode: str = "access exclusive"
) -> Iterator[Callable[[], int]]:
    """Hold a table so that whoever reads it (mode "share": writes it) waits.

    Yields a function that returns the waiting backend's process id.
    """
    with connection.transaction():
        connection.execute(f"lock table {table} in {mode} mode".encode())

        def waiting() -> int:
            row = connection.execute(
                "select pid from pg_locks where relation = %s::regclass and not granted "
                "and database = (select oid from pg_database where datname = current_database())",
                [table],
            ).fetchone()
            return int(row[0]) if row else 0

        yield lambda: int(until(waiting, f"somebody waits for {table}"))


def make_parking(connection: psycopg.Connection, view: str, table: str, row: int) -> None:
    """Make a view of (id, v, ...) whose readers stand still at one row while somebody holds `parked`.

    Counting the view's rows does not stop there, since that needs no `v`.
    """
    connection.execute(
        f"""
        create or replace function park(id int, v text) returns text language plpgsql stable as
        $$ begin if id = {row} then perform pg_advisory_xact_lock(900); end if; return v; end $$;
        create view {view} as select id, park(id, v) as v, changed from {table};
        """.encode()
    )


@contextmanager
def parked(connection: psycopg.Connection) -> Iterator[Callable[[], int]]:
    """Let readers of views by `make_parking` stand still.

    Yields a function that returns the process id of the backend that does.
    """
    waiting = "select pid from pg_locks where locktype = 'advisory' and objid = 900 and not granted"

    def waits() -> int:
        row = connection.execute(waiting.encode()).fetchone()
        return int(row[0]) if row else 0

    connection.execute("select pg_advisory_lock(900)")
    try:
        yield lambda: int(until(waits, "a reader stands still"))
    finally:
        connection.execute("select pg_advisory_unlock(900)")
