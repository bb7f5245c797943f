"""The flow `elt` on a real Prefect server, without a worker: the test ends the runs that it asks for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed

from flows.elt import elt
from flows.runs_elsewhere import RunFailed

SOURCES = ["a", "b", "c", "d", "e"]
AT_ONCE = 2


@flow(name="replicate")
def replicate(source: str) -> None:
    """Stands for the replication, which no worker takes here."""


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def asked_for(client: SyncPrefectClient) -> Iterator[Callable[[], list[FlowRun]]]:
    """Deployments of the sources; returns the runs that were asked for and have not ended."""
    flow_id = client.create_flow(replicate)
    made = [client.create_deployment(flow_id, name=source) for source in SOURCES]

    def waiting() -> list[FlowRun]:
        runs = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=made)))
        return [run for run in runs if run.state is None or not run.state.is_final()]

    yield waiting
    for deployment in made:
        client.delete_deployment(deployment)


@pytest.mark.thorough
def test_so_many_at_once_and_one_that_fails_keeps_no_other_from_being_done(
    client: SyncPrefectClient, asked_for: Callable[[], list[FlowRun]]
) -> None:
    errors: list[Any] = []

    def run() -> None:
        try:
            elt(sources=SOURCES, datasets=[], dashboards=False, at_once=AT_ONCE)
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            errors.append(error)

    # With the settings of this thread, which name the server.
    daily = threading.Thread(target=copy_context().run, args=(run,))
    daily.start()
    seen: dict[str, int] = {}
    try:
        while daily.is_alive():
            waiting = asked_for()
            if len(waiting) < min(AT_ONCE, len(SOURCES) - len(seen)):
                time.sleep(0.1)
                continue
            # Long enough for others to be asked for, too.
            time.sleep(2)
            waiting = asked_for()
            for ended in waiting:
                source = ended.parameters["source"]
                seen[source] = len(waiting)
                state = Failed(message="gone") if source in ("a", "d") else Completed()
                client.set_flow_run_state(ended.id, state, force=True)
            time.sleep(0.1)
    finally:
        daily.join(60)
    assert sorted(seen) == SOURCES
    assert max(seen.values()) == AT_ONCE
    (error,) = errors
    assert isinstance(error, RunFailed)
    assert error.what.startswith("2 of 5 replications did not complete: replicate/a ended Failed: gone; ")
