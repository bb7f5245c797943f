from __future__ import annotations

import time
from itertools import product

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import StateType, TaskRun
from prefect.context import get_run_context

from blocks.dbt_events import NodeEvent, Status
from flows.dbt_nodes import DbtNodes

STATES: list[tuple[Status, tuple[StateType, str, str]]] = [
    ("success", (StateType.COMPLETED, "Completed", "OK")),
    ("warn", (StateType.COMPLETED, "Warned", "Got 3 results")),
    ("error", (StateType.FAILED, "Failed", "Database Error")),
    ("skipped", (StateType.CANCELLED, "Skipped", "an upstream node failed")),
]


def node(status: Status, message: str = "", name: str = "a_model", total: int = 4) -> NodeEvent:
    """An event of one node among four, unless it says otherwise."""
    return NodeEvent(
        unique_id=f"model.floe.{name}", name=name, kind="model", status=status, message=message, total=total
    )


def shown(*events: NodeEvent, key: str = "test-nodes") -> list[TaskRun]:
    """Report events in a flow run and return the task runs that the server then has, by name."""

    @flow
    def build() -> str:
        nodes = DbtNodes(key)
        for event in events:
            nodes.report(event)
        return str(get_run_context().flow_run.id)  # type: ignore[union-attr]

    run = build()
    ends = len({event.unique_id for event in events if event.status != "running"})
    with get_client(sync_client=True) as client:
        # The server writes what it is told in batches.
        for _ in range(100):
            found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
            if sum(task.state is not None and task.state.is_final() for task in found) == ends:
                break
            time.sleep(0.1)
    return sorted(found, key=lambda task: task.name)


@pytest.mark.parametrize(("status", "expected"), STATES, ids=[status for status, _ in STATES])
def test_a_node_is_a_task_run_in_the_state_that_dbt_gave_it(
    prefect_server: None, status: Status, expected: tuple[StateType, str, str]
) -> None:
    message = "" if status == "skipped" else expected[2]
    (task,) = shown(node("running"), node(status, message))
    assert task.state is not None
    assert (task.name, task.state_type, task.state_name, task.state.message) == ("model a_model", *expected)
    assert task.start_time is not None
    assert task.end_time is not None
    assert task.total_run_time == task.end_time - task.start_time


def test_a_node_that_was_skipped_before_it_ran_is_shown_too(prefect_server: None) -> None:
    failed, skipped = shown(
        node("running", name="first"),
        node("error", "no such column", name="first"),
        node("skipped", name="second"),
    )
    assert (failed.name, failed.state_name) == ("model first", "Failed")
    assert (skipped.name, skipped.state_name) == ("model second", "Skipped")


def test_a_node_that_still_runs_is_shown_as_running(prefect_server: None) -> None:
    done, running = shown(
        node("running", name="done"), node("success", name="done"), node("running", name="slow")
    )
    assert (done.state_name, running.state_name) == ("Completed", "Running")


def test_two_runs_of_a_project_have_task_runs_of_their_own(prefect_server: None) -> None:
    first, second = (
        {
            task.id
            for task in shown(
                *(node(status, name=name) for name, status in product("ab", ("running", "success")))
            )
        }
        for _ in range(2)
    )
    assert len(first) == len(second) == 2
    assert not first & second


def test_the_bar_comes_to_its_end_though_the_ends_of_tests_do_not_say_how_many_there_are(
    prefect_server: None,
) -> None:
    key = "test-bar"
    shown(
        node("running", total=2),
        node("success", total=2),
        node("running", name="a_test", total=2),
        node("success", name="a_test", total=0),
        key=key,
    )
    with get_client(sync_client=True) as client:
        (bar,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    assert (bar.data, bar.description) == (100.0, "dbt: 2 of 2 nodes, last a_test")
