"""Old flow runs of the Prefect server, with their task runs, logs and artifacts, removed through its API.

The server's own vacuum (`PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED`) would also take the last run of a
deployment that is seldom run, and nobody would see what it did. Events it removes by itself, after
`PREFECT_SERVER_EVENTS_RETENTION_PERIOD`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

from blocks.errors import ServiceUnavailable

PAGE = 100


class Pruned(NamedTuple):
    """What was removed."""

    runs: int
    artifacts: int


def prune(ended_before: datetime) -> Pruned:
    """Remove the flow runs that ended before a moment, and their artifacts.

    The last run of each deployment stays however old it is, since `floe status` shows it.

    Raises:
        ServiceUnavailable: the Prefect server does not answer; what was removed stays so.
    """
    runs = artifacts = 0
    try:
        with get_client(sync_client=True) as client:
            kept = list(_last_runs(client))
            while old := _ended(client, ended_before, kept):
                # Artifacts first: of a run that is gone they could not be found again.
                artifacts += _remove_artifacts(client, old)
                for run in old:
                    _remove(client.delete_flow_run, run)
                runs += len(old)
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            f"The Prefect server did not let old runs be removed: {error or type(error).__name__}",
            state=f"{runs} runs are gone, the others are as they were",
            next_command="floe run maintain/daily",
        ) from None
    return Pruned(runs, artifacts)


def _ended(client: SyncPrefectClient, before: datetime, kept: list[UUID]) -> list[UUID]:
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
            end_time=FlowRunFilterEndTime(before_=before),
            id=FlowRunFilterId(not_any_=kept) if kept else None,
        ),
        limit=PAGE,
    )
    return [run.id for run in runs]


def _last_runs(client: SyncPrefectClient) -> Iterator[UUID]:
    offset = 0
    while page := client.read_deployments(limit=PAGE, offset=offset):
        for deployment in page:
            of = FlowRunFilterDeploymentId(any_=[deployment.id])
            state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
            last = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(deployment_id=of, state=state),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=1,
            )
            yield from (run.id for run in last)
        offset += PAGE


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
