"""One stack of its own for the end-to-end scenario, driven as a person drives it: by commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from prefect.client.orchestration import SyncPrefectClient

from blocks.settings import Settings
from deployments.local import leftovers
from deployments.local.home import Home, load_secrets
from deployments.local.supervision import Supervisor
from lambda_csv_loader.ducklake import DuckLakeSettings, connect

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Stack:
    """A home folder and the commands of the clone."""

    home: Home

    def run(self, *command: str, timeout: float = 400, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment against this home and return its output."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env={**self.environment(), **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def succeed(self, *command: str, timeout: float = 400, **variables: str) -> str:
        """Run a command that must end 0 and return what it printed."""
        done = self.run(*command, timeout=timeout, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command that reads its standard input, and leave it running."""
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment of a terminal: nothing of ours but the home and a wide screen."""
        return {**os.environ, "FLOE_HOME": str(self.home.root), "COLUMNS": "160"}

    def settings(self) -> Settings:
        """Read the settings that `floe up` wrote."""
        return Settings(home=self.home.root, _env_file=self.home.stack_env)

    def lake(self) -> duckdb.DuckDBPyConnection:
        """Open the warehouse as a reader."""
        warehouse = self.settings().warehouse
        assert isinstance(warehouse, DuckLakeSettings)
        return connect(warehouse, read_only=True)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement on the warehouse as a reader and return its rows."""
        connection = self.lake()
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def prefect(self) -> SyncPrefectClient:
        """Return a client of the stack's Prefect server, to be used in a `with` statement."""
        return SyncPrefectClient(self.prefect_api())

    def prefect_api(self) -> str:
        """Return the URL of the stack's Prefect API."""
        return f"http://127.0.0.1:{self.ports()['prefect']}/api"

    def ports(self) -> dict[str, int]:
        """Return the port of each service."""
        return dict(json.loads(self.home.ports_file.read_text()))

    def supervisor(self) -> Supervisor:
        """Return what runs the services."""
        return Supervisor(
            self.home, self.ports()["supervisor"], load_secrets(self.home.secrets_file).supervisor_password
        )

    def source(self, name: str) -> psycopg.Connection:
        """Open a source database."""
        source = self.settings().sources[name]
        return psycopg.connect(
            host=source.host,
            port=source.port,
            dbname=source.database,
            user=source.user,
            password=source.password.get_secret_value(),
            autocommit=True,
        )


@contextmanager
def stack_in(root: Path) -> Iterator[Stack]:
    """Give an empty home in a folder; nothing may run in it afterwards."""
    before = os.environ.get("FLOE_HOME")
    os.environ["FLOE_HOME"] = str(root)
    home = Home.open()
    if before is None:
        del os.environ["FLOE_HOME"]
    made = Stack(home)
    yield made
    made.run("floe", "down")
    assert leftovers.find(home) == []


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An empty home in a folder whose name has a space; nothing may run in it afterwards."""
    with stack_in(tmp_path_factory.mktemp("e2e") / "the company") as made:
        yield made
