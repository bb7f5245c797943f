"""Retries by class, on a real Prefect server."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import flow, get_client, task
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.futures import wait

from blocks.errors import ConfigurationError, ServiceUnavailable
from flows.retries import TRIES_AGAIN, by_class
from tests.step_runs import tries


def tries_of(error: Exception, failures: int) -> int:
    """Run a task that raises `error` in its first `failures` tries; return how often it was tried."""
    tries = []

    @task(**by_class(first_pause_seconds=0.01))
    def work() -> None:
        tries.append(1)
        if len(tries) <= failures:
            raise error

    @flow
    def parent() -> None:
        work()

    parent(return_state=True)
    return len(tries)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("error", "failures", "tries"),
    [
        pytest.param(ServiceUnavailable("down"), 2, 3, id="transient, then well"),
        pytest.param(ServiceUnavailable("down"), 9, 4, id="transient for ever"),
        pytest.param(ConfigurationError("wrong"), 9, 1, id="permanent"),
        pytest.param(ZeroDivisionError(), 9, 1, id="a bug"),
    ],
)
def test_only_transient_failures_are_tried_again(error: Exception, failures: int, tries: int) -> None:
    assert tries_of(error, failures) == tries


@pytest.mark.usefixtures("prefect_server")
def test_pauses_double_and_no_two_runs_wait_alike() -> None:
    first = 0.1

    @task(task_run_name="one of {number}", **by_class(first_pause_seconds=first))
    def work(number: int) -> None:
        raise ServiceUnavailable("down")

    @flow
    def parent() -> None:
        wait([work.submit(number) for number in range(4)])
        raise ServiceUnavailable("down")

    ended = parent(return_state=True)
    names = [f"one of {number}" for number in range(4)]
    assert tries(ended, *names) == dict.fromkeys(names, 4)
    run = ended.state_details.flow_run_id
    assert run is not None
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        states = [client.read_task_run_states(each.id) for each in found]
    shares = [pause / (first * 2**number) for each in states for number, pause in enumerate(pauses_of(each))]
    assert len(shares) == len(names) * TRIES_AGAIN
    # Jitter makes a pause half as long again at most; the state is said to be made a moment after the draw.
    assert 0.4 < min(shares) < max(shares) < 1.6
    assert max(shares) - min(shares) > 0.2


def pauses_of(states: list[State[Any]]) -> list[float]:
    """Return how long a task run was to wait before each other try."""
    waiting = sorted(
        (each for each in states if each.name == "AwaitingRetry"), key=lambda each: each.timestamp
    )
    times = [(each.state_details.scheduled_time, each.timestamp) for each in waiting]
    return [(scheduled - told).total_seconds() for scheduled, told in times if scheduled is not None]
