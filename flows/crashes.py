"""A run that dies whenever it is started is not started again for ever."""

from __future__ import annotations

from prefect import get_client
from prefect.client.schemas.objects import StateType
from prefect.context import FlowRunContext

from blocks.errors import PermanentError

# A crashed run is started again by the server (deployments/automations.yaml), this often in all.
MOST_STARTS = 3


class CrashedTooOften(PermanentError):
    """The run was started again after each crash, and crashed each time."""


def refuse_after_crashes(next_command: str) -> None:
    """End a run that crashed in each of its last starts.

    Only crashes count that nothing else came between: whoever retries a failed run gets all starts again.

    Args:
        next_command: what to do then.

    Raises:
        CrashedTooOften: this would be one start too many.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.run_count <= MOST_STARTS:
        return
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(run.id)
    crashes = 0
    for state in sorted(states, key=lambda each: each.timestamp, reverse=True):
        if state.type == StateType.CRASHED:
            crashes += 1
        elif state.is_final():
            break
    if crashes >= MOST_STARTS:
        raise CrashedTooOften(
            f"This run crashed {crashes} times in a row",
            state="completed steps stay; readers keep the last good marts",
            next_command=next_command,
        )
