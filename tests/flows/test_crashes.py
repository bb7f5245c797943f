"""A run that crashes again and again, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Failed, Running

from flows.backfill import backfill
from flows.crashes import CrashedTooOften, refuse_after_crashes
from flows.elt import elt


@flow
def fragile() -> str:
    """Stands for a flow that is started again after a crash."""
    refuse_after_crashes("floe run")
    return "came to its end"


def started_again_after(
    *ends: State, of: Flow[..., Any] = fragile, parameters: dict[str, Any] | None = None
) -> str | Exception:
    """Let a run end so, start after start; return what the next start gives."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(of, parameters=parameters)
        for end in ends:
            client.set_flow_run_state(run.id, Running(), force=True)
            client.set_flow_run_state(run.id, end, force=True)
        try:
            return str(run_flow(of, flow_run=client.read_flow_run(run.id), parameters=parameters))
        except CrashedTooOften as error:
            return error


ENDS: dict[str, tuple[Sequence[State], bool]] = {
    "twice": ([Crashed(), Crashed()], False),
    "three times": ([Crashed(), Crashed(), Crashed()], True),
    "retried by hand after each failure": ([Failed(), Failed(), Failed(), Failed()], False),
    "retried by hand after the last refusal": ([Crashed(), Crashed(), Crashed(), Failed()], False),
    "anew after that": ([Crashed(), Crashed(), Failed(), Crashed(), Crashed(), Crashed()], True),
}


@pytest.mark.parametrize(("ends", "refused"), ENDS.values(), ids=ENDS)
def test_only_crashes_in_a_row_count(prefect_server: None, ends: Sequence[State], refused: bool) -> None:
    assert isinstance(started_again_after(*ends), CrashedTooOften) == refused


# Of deployments that are tagged "resume"; with these parameters they would fail otherwise.
RESUMED = {"elt": (elt, {"sources": [], "datasets": ["none"]}), "backfill": (backfill, {})}


@pytest.mark.thorough
@pytest.mark.parametrize(("real", "parameters"), RESUMED.values(), ids=RESUMED)
def test_the_flows_that_are_started_again_by_themselves_give_up(
    prefect_server: None, real: Flow[..., Any], parameters: dict[str, Any]
) -> None:
    crashes = [Crashed(), Crashed(), Crashed()]
    refused = started_again_after(*crashes, of=real, parameters=parameters)
    assert isinstance(refused, CrashedTooOften)
