"""A whole stack of the laptop under measurement: its runs, and the memory that its processes take."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from tests.benchmarks.measuring import looking
from tests.e2e.conftest import Stack


def say(words: str) -> None:
    sys.stdout.write(f"\n{words}\n")


def ran(client: SyncPrefectClient, deployment: str, **parameters: Any) -> FlowRun:
    """Run a deployment to its good end."""
    run = client.create_flow_run_from_deployment(
        client.read_deployment_by_name(deployment).id, parameters=parameters
    )
    while not (run.state and run.state.is_final()):
        time.sleep(0.2)
        run = client.read_flow_run(run.id)
    assert run.state.is_completed(), run.state
    return run


def between(start: datetime | None, end: datetime | None) -> float:
    assert start is not None
    assert end is not None
    return (end - start).total_seconds()


def services(stack: Stack, *names: str) -> dict[str, psutil.Process]:
    """Return the processes of some services of a stack."""
    states = stack.supervisor().states()
    return {name: psutil.Process(int(states[name]["pid"])) for name in names}


@contextmanager
def watched(roots: dict[str, psutil.Process], peak: dict[str, float]) -> Iterator[None]:
    """Keep the most that each process and its descendants took, shared pages counted by share."""

    def look() -> None:
        now = {
            name: sum(map(megabytes, [root, *root.children(recursive=True)])) for name, root in roots.items()
        }
        now["together"] = sum(now.values())
        for name, taken in now.items():
            peak[name] = max(taken, peak.get(name, 0))

    with looking(look, 0.3):
        yield


def megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 1024**2
    except psutil.Error:
        return 0.0
