"""The steps of a flow run, as the Prefect server has them."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun

from tests.airbyte_service import until


def tries(ended: State[Any], *steps: str) -> dict[str, int]:
    """Return how often each of the steps of a flow run was tried.

    Args:
        ended: the state that the flow run ended in.
        steps: the task runs' names; waited for, since the server writes what it is told in batches.
    """
    run = ended.state_details.flow_run_id
    assert run is not None

    def written() -> dict[str, TaskRun] | None:
        with get_client(sync_client=True) as client:
            found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        final = {task.name: task for task in found if task.state is not None and task.state.is_final()}
        return final if set(steps) <= set(final) else None

    final = until(written, f"the steps {steps} end", 20)
    return {step: final[step].run_count for step in steps}
