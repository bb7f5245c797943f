"""After an outage only the latest of the scheduled runs that piled up does the work.

Every run of `elt` takes whatever is new since the last one, so of five daily runs that waited for a
worker, four would find nothing to do and hold their sources for an hour each.
"""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort

from flows.schedules import AUTO_SCHEDULED, run_of_schedule

SKIPPED = "Skipped"


def skipped_for_newer() -> State | None:
    """Return the state to end with when a newer scheduled run of the same deployment does the work.

    It may be due, at work or done: runs that waited for a slot together do not start in their order. Runs
    that a person or an automation started are never skipped, and one that is tried again only for one
    that has not begun.
    """
    run = run_of_schedule()
    newer = _newest(run) if run and run.deployment_id else None
    if newer is None:
        return None
    return State(
        type=StateType.CANCELLED,
        name=SKIPPED,
        message=f"{newer.name}, scheduled for {newer.expected_start_time:%Y-%m-%d %H:%M} UTC, is due too and"
        " does the work of this run",
    )


def _newest(run: FlowRun) -> FlowRun | None:
    waiting = [StateType.SCHEDULED, StateType.PENDING]
    begun = [StateType.RUNNING, StateType.COMPLETED] if run.run_count <= 1 else []
    with get_client(sync_client=True) as client:
        due = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
                tags=FlowRunFilterTags(all_=[AUTO_SCHEDULED]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=waiting + begun)),
                expected_start_time=FlowRunFilterExpectedStartTime(
                    after_=run.expected_start_time, before_=datetime.now(UTC)
                ),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=2,
        )
    return next((other for other in due if other.id != run.id), None)
