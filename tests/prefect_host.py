"""A Prefect server and workers of a test's own, which it may kill."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME

from blocks.settings import ROOT
from deployments.local.services import answers
from deployments.prefect_server import OUTLIVES_KILL
from tests.postgres_server import free_port

T = TypeVar("T")


class PrefectHost:
    """The laptop's server on a database in `home`, and workers that find work at once."""

    def __init__(self, home: Path) -> None:
        self.home, self._port = home, free_port()
        self.api = f"http://127.0.0.1:{self._port}/api"
        self._started: list[subprocess.Popen[bytes]] = []
        self.environment = {
            **os.environ,
            **OUTLIVES_KILL,
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
            # Whoever waits for a slot of its deployment asks again after this; 30 are usual.
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_WORKER_PREFETCH_SECONDS": "1",
        }

    def serve(self) -> None:
        """Start the server, and wait until it answers."""
        self.server = self._start("server", "deployments.local.prefect_server", "--port", str(self._port))
        until(answers(f"{self.api}/health"), self.server)

    def work(self, pool: str, limit: int = 4) -> subprocess.Popen[bytes]:
        """Start a worker of the pool."""
        return self._start("worker", "deployments.worker", "--pool", pool, "--limit", str(limit))

    def stop(self) -> None:
        """End what still runs, the server last."""
        for process in reversed(self._started):
            if process.poll() is None:
                process.terminate()
                process.wait(30)

    def _start(self, log: str, module: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{log}.log").open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *options],
                env=self.environment,
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        self._started.append(process)
        return process


def deployment_on(pool: str, flow: Flow[..., Any], name: str) -> UUID:
    """Make a deployment of one of our flows for the workers of a pool; return its id."""
    file = Path(inspect.getfile(flow.fn)).relative_to(ROOT)
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            client.create_flow(flow),
            name=name,
            work_pool_name=pool,
            entrypoint=f"{file}:{flow.fn.__name__}",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
        )


@contextmanager
def pool_worker(pool: str, limit: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker that runs what is asked of a pool of this process's Prefect server."""
    environment = {
        **os.environ,
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(PREFECT_HOME.value()),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_WORKER_PREFETCH_SECONDS": "1",
    }
    command = [sys.executable, "-m", "deployments.worker", "--pool", pool, "--limit", str(limit)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def until(look: Callable[[], T], alive: subprocess.Popen[Any] | None = None, seconds: float = 120) -> T:
    """Look until there is something, and return it; fail when the time is over or a process has ended."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert alive is None or alive.poll() is None, "the process has ended"
        assert time.monotonic() < deadline, f"not seen in {seconds} s"
        time.sleep(0.1)
    return seen
