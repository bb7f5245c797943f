"""Runs of other deployments that are asked for once, however often the run that asks is started."""

from __future__ import annotations

import itertools
import time
from typing import Any, cast

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.runtime import flow_run

POLL_SECONDS = 1.0


def ended_run(deployment: str, parameters: dict[str, Any], *, name: str, part: str | int) -> FlowRun:
    """Return the run of a deployment as it ended, which this flow run or an interrupted try of it started.

    A run that is under way, or has completed since, is attached to; in place of one that did not complete a
    new one is started.

    Args:
        deployment: `flow/deployment`.
        parameters: of the flow.
        name: of the run.
        part: what of the asking flow run this is; the same in each of its tries, and no other's.
    """
    for attempt in itertools.count():
        run = _begun(deployment, parameters, name, f"{flow_run.get_id()}:{part}:{attempt}")
        if run.state is None or not run.state.is_final() or run.state.is_completed():
            break
    return _ended(run)


def _begun(deployment: str, parameters: dict[str, Any], name: str, key: str) -> FlowRun:
    """Start the run of a key; return the one that there is already."""
    run = run_deployment(
        deployment, flow_run_name=name, parameters=parameters, timeout=0, idempotency_key=key
    )
    return cast(FlowRun, run)


def _ended(run: FlowRun) -> FlowRun:
    with get_client(sync_client=True) as client:
        while run.state is None or not run.state.is_final():
            time.sleep(POLL_SECONDS)
            run = client.read_flow_run(run.id)
    return run
