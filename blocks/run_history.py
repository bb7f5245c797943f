"""Old runs of Floe's deployments, with task runs, logs, artifacts and results, removed through Prefect's API.

The server's own vacuum (`PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED`) would also take the last run of a
deployment that is seldom run, and nobody would see what it did. Events it removes by itself, after
`PREFECT_SERVER_EVENTS_RETENTION_PERIOD`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from blocks.child_runs import child_runs
from blocks.errors import ServiceUnavailable
from blocks.own_deployments import own_deployments
from blocks.run_results import RunResults

PAGE = 100
_TERMINAL = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))


class Pruned(NamedTuple):
    """What was removed.

    Attributes:
        runs: flow runs.
        artifacts: theirs.
        results: files that they had kept to go on with.
        result_bytes: their size.
        results_elsewhere: results that are left to the storage which has them, as it is not on this host.
    """

    runs: int = 0
    artifacts: int = 0
    results: int = 0
    result_bytes: int = 0
    results_elsewhere: int = 0


def prune(ended_before: datetime) -> Pruned:
    """Remove the runs of Floe's deployments that ended before a moment, their sub-flows' runs and artifacts.

    The last run of each deployment stays however old it is, with what it started, since `floe status` shows
    it. So does every run of a deployment of somebody else's, or of none. A run that stays keeps its results,
    so that it can be retried.

    Raises:
        ServiceUnavailable: the Prefect server does not answer; what was removed stays so.
        ConfigurationError: a result may not be removed; its run stays.
    """
    pruned = Pruned()
    try:
        with get_client(sync_client=True) as client:
            deployments = [deployment.id for deployment in own_deployments(client)]
            last = [run for deployment in deployments for run in _last_run(client, deployment)]
            kept = last + _descendants(client, last, with_deployments=True)
            results = RunResults(client)
            while old := _ended(client, ended_before, deployments, kept):
                gone = old + _descendants(client, old, with_deployments=False)
                # Children before their parents, and first what only a run leads to: results and artifacts.
                removed = results.remove(gone)
                artifacts = _remove_artifacts(client, gone)
                for run in reversed(gone):
                    _remove(client.delete_flow_run, run)
                pruned = Pruned(*map(sum, zip(pruned, (len(gone), artifacts, *removed), strict=True)))
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            f"The Prefect server did not let old runs be removed: {error or type(error).__name__}",
            state=f"{pruned.runs} runs are gone, the others are as they were",
            next_command="floe run maintain/daily",
        ) from None
    return pruned


def _ended(
    client: SyncPrefectClient, before: datetime, deployments: list[UUID], kept: list[UUID]
) -> list[UUID]:
    if not deployments:
        return []
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=deployments),
            state=_TERMINAL,
            end_time=FlowRunFilterEndTime(before_=before),
            id=FlowRunFilterId(not_any_=kept) if kept else None,
        ),
        limit=PAGE,
    )
    return [run.id for run in runs]


def _last_run(client: SyncPrefectClient, deployment: UUID) -> list[UUID]:
    last = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]), state=_TERMINAL
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return [run.id for run in last]


def _descendants(client: SyncPrefectClient, runs: list[UUID], *, with_deployments: bool) -> list[UUID]:
    """Return the runs that runs started, and those that these started, parents before their children.

    Args:
        client: of the server.
        runs: the parents.
        with_deployments: also runs of deployments, which else are judged by their own age.
    """
    found: list[UUID] = []
    parents = runs
    while parents:
        children = [
            run.id for run in child_runs(client, parents) if with_deployments or run.deployment_id is None
        ]
        found += children
        parents = children
    return found


def _remove_artifacts(client: SyncPrefectClient, runs: list[UUID]) -> int:
    removed = 0
    of = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=runs))
    while found := client.read_artifacts(artifact_filter=of, limit=PAGE):
        for artifact in found:
            _remove(client.delete_artifact, artifact.id)
        removed += len(found)
    return removed


def _remove(remove: Callable[[UUID], None], identity: UUID) -> None:
    """Remove something that somebody else may remove at the same time."""
    with suppress(ObjectNotFound):
        remove(identity)
