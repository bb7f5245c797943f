"""A run that crashes again and again, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Failed, Running

from flows.crashes import CrashedTooOften, refuse_after_crashes


@flow
def fragile() -> str:
    """Stands for a flow that is started again after a crash."""
    refuse_after_crashes("floe run")
    return "came to its end"


def started_again_after(*ends: State) -> str | Exception:
    """Let a run end so, start after start; return what the next start gives."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(fragile)
        for end in ends:
            client.set_flow_run_state(run.id, Running(), force=True)
            client.set_flow_run_state(run.id, end, force=True)
        try:
            return str(run_flow(fragile, flow_run=client.read_flow_run(run.id)))
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
