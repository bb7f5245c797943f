"""Runs that a schedule made wait for a while before they begin, on a real Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow, flow, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry
from prefect.utilities.importtools import import_object

from flows.elt import elt
from flows.maintain import maintain
from flows.report import report
from flows.schedules import AUTO_SCHEDULED, wait_for_jitter

AT_MOST = 600
waited: list[float] = []


@flow(name="spread")
def spread(at_most_seconds: int = AT_MOST) -> None:
    """Stands for a flow that a schedule starts; it does not really wait."""
    wait_for_jitter(at_most_seconds, sleep=waited.append)


@pytest.fixture(autouse=True)
def nothing_waited(prefect_server: None) -> None:
    waited.clear()


def started(*tags: str, at_most_seconds: int = AT_MOST, again: bool = False) -> None:
    with get_client(sync_client=True) as client:
        parameters = {"at_most_seconds": at_most_seconds}
        run = client.create_flow_run(spread, tags=tags, parameters=parameters)
        if again:
            for state in (State(type=StateType.RUNNING), State(type=StateType.CRASHED), AwaitingRetry()):
                client.set_flow_run_state(run.id, state, force=True)
        run_flow(spread, flow_run=client.read_flow_run(run.id), parameters=parameters)


def test_runs_of_a_schedule_wait_for_different_times_within_the_bound() -> None:
    for _ in range(5):
        started(AUTO_SCHEDULED)
    assert len(set(waited)) == 5
    assert all(0 <= seconds <= AT_MOST for seconds in waited)


def test_a_run_by_hand_a_run_that_starts_again_and_one_without_jitter_begin_at_once() -> None:
    started("daily")
    started(AUTO_SCHEDULED, again=True)
    started(AUTO_SCHEDULED, at_most_seconds=0)
    assert waited == []


def test_every_cron_schedule_that_is_shipped_has_a_time_zone_and_jitter() -> None:
    deployments = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    planned = [
        (each, schedule)
        for each in deployments
        for schedule in each.get("schedules", [])
        if "cron" in schedule
    ]
    assert planned
    for deployment, schedule in planned:
        assert schedule["timezone"]
        assert deployment["parameters"]["jitter_seconds"] > 0
        entrypoint = deployment["entrypoint"].replace("/", ".").replace(".py:", ".")
        assert "jitter_seconds" in import_object(entrypoint).parameters.properties


FIRST_STEPS = {
    "elt": (elt, {"sources": [], "datasets": ["none"]}),
    "report": (report, {"dashboard": "none"}),
    "maintain": (maintain, {}),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("real", "parameters"), FIRST_STEPS.values(), ids=FIRST_STEPS)
def test_the_shipped_flows_wait_before_their_first_step(
    real: Flow[..., Any], parameters: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    parameters = {**parameters, "jitter_seconds": 1}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(real, tags=[AUTO_SCHEDULED], parameters=parameters)
    # There is nothing here that it could work with.
    state = run_flow(real, flow_run=run, parameters=parameters, return_type="state")
    assert state.is_failed()
    said = [record.getMessage() for record in caplog.records if record.name == "prefect.flow_runs"]
    begins = [number for number, line in enumerate(said) if line.startswith("Begins in ")]
    failed = [number for number, line in enumerate(said) if line.startswith("Encountered exception")]
    assert len(begins) == 1
    assert begins[0] < min(failed)
