"""Runs that a schedule made: which they are, and the pause that keeps them from starting all at once.

A cron schedule of Prefect has a time zone and no jitter (3.8.8), so a scheduled run itself waits. It does so
in the slot that it got: while many wait, their pool starts no more of them than its workers have slots.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Annotated

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from pydantic import Field

# Prefect's scheduler puts it on each run that a schedule made (server/models/deployments.py).
AUTO_SCHEDULED = "auto-scheduled"

JitterSeconds = Annotated[
    int, Field(ge=0, le=3600, description="a run of a schedule waits so long at most, another time each day")
]


def run_of_schedule() -> FlowRun | None:
    """Return the run that this is part of when a schedule made it; None for those of people and events."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    return run if run and AUTO_SCHEDULED in run.tags else None


def wait_for_jitter(at_most_seconds: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Let a run of a schedule wait for a while before its first start; other runs begin at once.

    Args:
        at_most_seconds: how long at most; 0 for not at all. How long is drawn from the id of the run.
        sleep: waits so many seconds.
    """
    run = run_of_schedule()
    if run is None or run.run_count > 1 or not at_most_seconds:
        return
    seconds = Random(run.id.int).uniform(0, at_most_seconds)  # noqa: S311 (nothing secret hangs on it)
    get_run_logger().info("Begins in %.0f s, so that not all that is due now starts at once", seconds)
    sleep(seconds)
