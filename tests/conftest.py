"""Fixtures shared by every room: one PostgreSQL for the run, a fresh database or lake per test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from xdist.scheduler import LoadFileScheduling

from deployments.local import postgres
from deployments.local.services import answers
from lambda_csv_loader.ducklake import DuckLakeSettings, connect, install_extensions, libpq
from tests.postgres_server import PostgresServer, free_port

# A test must never meet a stack, a Prefect profile or credentials of the person who runs it; the
# live lane's own variables are the exception.
FOREIGN = ("FLOE_", "PREFECT_", "AWS_", "SNOWFLAKE_", "METABASE_")
LIVE_METABASE = tuple(f"METABASE_{name}" for name in ("URL", "API_KEY", "DATABASE", "SCHEMA", "UPPER"))
KEPT = ("FLOE_LIVE_", "AWS_CA_BUNDLE", *LIVE_METABASE)
for name in [key for key in os.environ if key.startswith(FOREIGN) and not key.startswith(KEPT)]:
    del os.environ[name]
# Nor the width of their terminal, which folds tables.
os.environ.pop("COLUMNS", None)

_numbers = itertools.count(1)

# No test cuts the power of the machine; kill -9 of a server loses nothing of this.
UNSAFE_BUT_FAST = ("--fsync=off", "--full_page_writes=off")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest story first, so that the other process has the rest beside it."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


# Files that share what is dear to make; the mark `xdist_group` does nothing under pytest 9.
SHARED = {
    "dbt": (
        "dbt/test_dbt_build",
        "dbt/test_dbt_changes",
        "dbt/test_dbt_metrics",
        "dbt/test_dbt_project",
        "dbt/test_dbt_snowflake",
    ),
    "company": ("dbt/test_dbt_simulated", "dbt/test_dbt_tpcds"),
    "prefect": (
        "blocks/test_register",
        "deployments/commands/test_connections_command",
        "deployments/test_alerts",
        "deployments/test_automations",
        "deployments/test_many",
        "deployments/test_metrics",
        "deployments/test_prefect_objects",
        "flows/test_backfill",
        "flows/test_backfill_build",
        "flows/test_backfill_files",
        "flows/test_crashes",
        "flows/test_dbt_nodes",
        "flows/test_elt",
        "flows/test_emit",
        "flows/test_ingest_csv",
        "flows/test_latest_only",
        "flows/test_maintain",
        "flows/test_publish",
        "flows/test_publish_metabase",
        "flows/test_reconcile_flow",
        "flows/test_replicate",
        "flows/test_report",
        "flows/test_retried_build",
        "flows/test_retries",
        "flows/test_step_times",
        "flows/test_transform",
    ),
}
ONE_PROCESS = {f"tests/{file}.py": shared for shared, files in SHARED.items() for file in files}


class ByFileOrGroup(LoadFileScheduling):
    """Gives each file to one process, and the files of `ONE_PROCESS` that belong together to the same."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return ONE_PROCESS.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFileOrGroup:
    """Decide which process runs which test."""
    return ByFileOrGroup(config, log)


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL: where it listens, and how to make databases in it."""

    port: int
    password: str
    passfile: Path

    def create_database(self, prefix: str = "test") -> str:
        """Create a database with a fresh name and return the name."""
        name = f"{prefix}_{next(_numbers)}"
        postgres.create_database("127.0.0.1", self.port, name, self.passfile)
        return name

    def dsn(self, database: str) -> str:
        """Return a libpq connection string without a secret in it."""
        return libpq("127.0.0.1", self.port, postgres.SUPERUSER, database, self.passfile)

    def connect(self, database: str) -> psycopg.Connection:
        """Open an autocommit connection."""
        return psycopg.connect(self.dsn(database), autocommit=True)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One real PostgreSQL for the whole test run."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), *UNSAFE_BUT_FAST)
    server.start()
    yield Cluster(server.port, server.password, server.passfile)
    server.stop()


@pytest.fixture(scope="session")
def extension_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DuckDB's extensions, laid out once."""
    return install_extensions(tmp_path_factory.mktemp("duckdb_extensions"))


@pytest.fixture
def new_lake(cluster: Cluster, extension_directory: Path, tmp_path: Path) -> Callable[[], DuckLakeSettings]:
    """Return a function that makes an empty DuckLake of its own and returns its settings."""

    def make() -> DuckLakeSettings:
        name = cluster.create_database("lake")
        return DuckLakeSettings(
            port=cluster.port,
            database=name,
            passfile=cluster.passfile,
            data_path=tmp_path / name,
            extension_directory=extension_directory,
        )

    return make


@pytest.fixture
def lake(new_lake: Callable[[], DuckLakeSettings]) -> DuckLakeSettings:
    """Settings of an empty DuckLake."""
    return new_lake()


@pytest.fixture
def lake_connection(lake: DuckLakeSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """An open connection to the empty DuckLake of this test."""
    connection = connect(lake)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One real Prefect server, the one of a laptop with a database of its own, for the whole test run."""
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    }
    api = f"http://127.0.0.1:{port}/api"
    with (home / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "deployments.local.prefect_server", "--port", str(port)],
            env=os.environ | variables,
            stdout=log,
            stderr=log,
        )
        try:
            for _ in range(600):
                if answers(f"{api}/health")():
                    break
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.2)
            else:
                pytest.fail((home / "log").read_text())
            with temporary_settings({PREFECT_API_URL: api, PREFECT_HOME: home}):
                yield
                # Else the end of this process waits for more than a minute for a server that is gone.
                APILogWorker.drain_all(timeout=20)
        finally:
            server.terminate()
            server.wait(20)
