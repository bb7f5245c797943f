"""Five daily runs that waited for a worker: the latest does the work, the others say why they did not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import Flow, flow, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from flows.elt import elt
from flows.latest_only import skipped_for_newer
from flows.schedules import AUTO_SCHEDULED

NOW = datetime.now(UTC)
Queue = Callable[..., FlowRun]


@flow(name="daily under test")
def daily() -> State | str:
    """Do a day's work, unless a newer run is due."""
    return skipped_for_newer() or "worked"


@pytest.fixture
def queue(prefect_server: None, request: pytest.FixtureRequest) -> Queue:
    """Return a function that queues a run of a deployment of this test's own."""
    return queue_of(daily, request.node.name)


def queue_of(flow: Flow[..., Any], name: str) -> Queue:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(flow), name=name)

    def make(days_ago: float, tags: tuple[str, ...] = (AUTO_SCHEDULED,)) -> FlowRun:
        then = NOW - timedelta(days=days_ago)
        scheduled = State(type=StateType.SCHEDULED, state_details={"scheduled_time": then})
        with get_client(sync_client=True) as client:
            return client.create_flow_run_from_deployment(
                deployment, state=scheduled, tags=list(tags), name=f"{days_ago} days ago"
            )

    return make


def ended(run: FlowRun) -> State:
    return run_flow(daily, flow_run=run, return_type="state")


def test_of_five_daily_runs_that_waited_the_latest_works_and_four_say_why_not(queue: Queue) -> None:
    states = [ended(run) for run in [queue(days) for days in (5, 4, 3, 2, 1)]]
    assert [state.name for state in states] == ["Skipped"] * 4 + ["Completed"]
    assert {state.type for state in states[:4]} == {StateType.CANCELLED}
    assert all(state.message.startswith("1 days ago, scheduled for ") for state in states[:4])


def test_a_run_that_starts_after_a_newer_one_did_the_work_is_skipped_too(queue: Queue) -> None:
    older, newer = queue(2), queue(1)
    assert [ended(newer).name, ended(older).name] == ["Completed", "Skipped"]


def test_a_failed_run_that_somebody_retries_works_though_a_newer_one_did(queue: Queue) -> None:
    failed, newer = queue(2), queue(1)
    with get_client(sync_client=True) as client:
        for state in (State(type=StateType.RUNNING), State(type=StateType.FAILED)):
            client.set_flow_run_state(failed.id, state, force=True)
        ended(newer)
        client.set_flow_run_state(failed.id, AwaitingRetry(), force=True)
        again = client.read_flow_run(failed.id)
    assert ended(again).name == "Completed"


def test_a_run_that_is_not_due_yet_skips_nothing(queue: Queue) -> None:
    due, _ = queue(1), queue(-1)
    assert ended(due).name == "Completed"


def test_a_run_that_a_person_started_is_never_skipped(queue: Queue) -> None:
    by_hand, _ = queue(2, tags=()), queue(1)
    assert ended(by_hand).name == "Completed"


@pytest.mark.thorough
def test_elt_is_skipped_for_a_newer_run_of_its_deployment(prefect_server: None) -> None:
    queue = queue_of(elt, "daily under test")
    older, _ = queue(2), queue(1)
    # It would fail on a dataset that there is not.
    parameters = {"sources": [], "datasets": ["none"]}
    state = run_flow(elt, flow_run=older, parameters=parameters, return_type="state")
    assert (state.name, state.type) == ("Skipped", StateType.CANCELLED)
