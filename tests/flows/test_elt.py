"""The flow `elt` on a real Prefect server, without a worker: the test ends the runs that it asks for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from prefect.states import AwaitingRetry, Completed, Crashed, Failed

from blocks.errors import ConfigurationError
from blocks.own_deployments import OURS
from blocks.settings import ROOT
from flows.elt import elt
from flows.runs_elsewhere import RunFailed
from tests.prefect_host import until
from tests.step_runs import tries

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
def all_asked_for(client: SyncPrefectClient) -> Iterator[Callable[[], list[FlowRun]]]:
    """Deployments of the sources; returns the runs that were asked for."""
    flow_id = client.create_flow(replicate)
    made = [client.create_deployment(flow_id, name=source) for source in SOURCES]

    of = DeploymentFilter(id=DeploymentFilterId(any_=made))
    yield lambda: client.read_flow_runs(deployment_filter=of)
    for deployment in made:
        client.delete_deployment(deployment)


@pytest.fixture
def asked_for(all_asked_for: Callable[[], list[FlowRun]]) -> Callable[[], list[FlowRun]]:
    """Return the runs that were asked for and have not ended."""
    return lambda: [run for run in all_asked_for() if run.state is None or not run.state.is_final()]


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


STARTED = """
import sys
from prefect import get_client
from prefect.flow_engine import run_flow
from flows.elt import elt

with get_client(sync_client=True) as client:
    run = client.read_flow_run(sys.argv[1])
run_flow(elt, flow_run=run, parameters=run.parameters)
"""


@pytest.mark.thorough
def test_a_killed_run_that_starts_again_waits_for_what_it_had_asked_for(
    client: SyncPrefectClient,
    asked_for: Callable[[], list[FlowRun]],
    all_asked_for: Callable[[], list[FlowRun]],
) -> None:
    run = client.create_flow_run(elt, parameters={"sources": ["a", "b"], "datasets": [], "dashboards": False})
    server = {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "PREFECT_HOME": str(PREFECT_HOME.value())}
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED, str(run.id)], cwd=ROOT, env={**os.environ, **server}
    )
    try:
        until(lambda: len(asked_for()) == 2, process)
    finally:
        process.kill()
        process.wait(30)
    # Of what it had asked for, one goes on meanwhile and one does not.
    (broken,) = [each for each in asked_for() if each.parameters["source"] == "b"]
    client.set_flow_run_state(broken.id, Failed(message="gone"), force=True)
    client.set_flow_run_state(run.id, Crashed(), force=True)
    client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
    again = client.read_flow_run(run.id)
    ends: list[State] = []

    def start_again() -> None:
        ends.append(run_flow(elt, flow_run=again, parameters=again.parameters, return_type="state"))

    daily = threading.Thread(target=copy_context().run, args=(start_again,))
    daily.start()
    while daily.is_alive():
        for waiting in asked_for():
            client.set_flow_run_state(waiting.id, Completed(), force=True)
        time.sleep(0.2)
    # It came to the reconciliation, for which these sources have no block.
    assert "a-reconcile" in (ends[0].message or "")
    assert sorted(each.parameters["source"] for each in all_asked_for()) == ["a", "b", "b"]
    # By this tag the server notices when a step's process dies (deployments/automations.yaml).
    steps = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id])),
        flow_filter=FlowFilter(name=FlowFilterName(any_=["reconcile"])),
    )
    assert [step.tags for step in steps] == [[OURS]]


def test_a_source_without_a_deployment_is_named_and_its_step_is_not_tried_again(prefect_server: None) -> None:
    state = elt(sources=["nobody"], datasets=[], dashboards=False, return_state=True)
    with pytest.raises(ConfigurationError, match=r"no deployment replicate/nobody\n.*\nNext: .*floe deploy"):
        state.result()
    assert tries(state, "replicate/nobody") == {"replicate/nobody": 1}
