"""The flow runs that flow runs started, however many: the server gives a page of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

PAGE = 200


def child_runs(client: SyncPrefectClient, parents: Sequence[UUID]) -> list[FlowRun]:
    """Return the runs that these runs started, here or on other hosts, in the order of their start.

    Args:
        client: of the Prefect server.
        parents: ids of the runs.
    """
    children: dict[UUID, FlowRun] = {}
    of = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(parents)))
    offset = 0
    while page := client.read_flow_runs(
        flow_run_filter=of, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=offset
    ):
        # What is started meanwhile moves others to the next page, where they are seen again.
        children |= {run.id: run for run in page}
        offset += len(page)
        if len(page) < PAGE:
            break
    return sorted(children.values(), key=lambda run: run.id)
