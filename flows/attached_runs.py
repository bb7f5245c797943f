"""Runs of other deployments that are asked for once, however often the run that asks is started."""

from __future__ import annotations

import itertools
import time
from typing import Any, cast

from prefect import get_client, runtime
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment

POLL_SECONDS = 1.0
# Begins the tag of a run that another one asked for and waits for, before the name of that one's deployment.
# Alerts look at the first of a run's tags (deployments/alerts.py): it comes before letters and digits.
ASKED_FOR_BY = "(for) "


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
        run = _begun(deployment, parameters, name, f"{runtime.flow_run.get_id()}:{part}:{attempt}")
        if run.state is None or not run.state.is_final() or run.state.is_completed():
            break
    return _ended(run)


def _begun(deployment: str, parameters: dict[str, Any], name: str, key: str) -> FlowRun:
    """Start the run of a key; return the one that there is already."""
    run = run_deployment(
        deployment,
        flow_run_name=name,
        parameters=parameters,
        timeout=0,
        idempotency_key=key,
        tags=_asked_for_by(),
    )
    return cast(FlowRun, run)


def _asked_for_by() -> list[str]:
    """Return the tag that names the deployment whose run this is; none if it has none."""
    of = runtime.deployment.get_name()
    return [f"{ASKED_FOR_BY}{runtime.flow_run.get_flow_name()}/{of}"] if of else []


def _ended(run: FlowRun) -> FlowRun:
    with get_client(sync_client=True) as client:
        while run.state is None or not run.state.is_final():
            time.sleep(POLL_SECONDS)
            run = client.read_flow_run(run.id)
    return run
