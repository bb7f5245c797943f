"""The flow runs that flow runs started, however many."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from blocks.server_pages import all_pages


def child_runs(client: SyncPrefectClient, parents: Sequence[UUID]) -> list[FlowRun]:
    """Return the runs that these runs started, here or on other hosts, in the order of their start.

    Args:
        client: of the Prefect server.
        parents: ids of the runs.
    """
    of = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(parents)))
    found = all_pages(client.read_flow_runs, flow_run_filter=of, sort=FlowRunSort.ID_DESC)
    return sorted(found, key=lambda run: run.id)
