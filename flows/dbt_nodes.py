"""Each dbt node as a task run of its own, fed by dbt's events.

Prefect's own dbt runner reports a skipped node as completed; here a node has the state that dbt
gave it, and "Skipped" is a state of its own kind.
"""

from __future__ import annotations

import time
from types import TracebackType
from uuid import UUID

from prefect import get_client, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import State, StateType
from prefect.context import get_run_context
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed, Running

from blocks.dbt import NodeEvent

# Each update is a request of its own; a bar need not move faster than it is looked at.
PROGRESS_SECONDS = 1.0


@task(name="dbt node")
def _dbt_node() -> None:
    """A node of the dbt project; dbt runs it, this only names it in Prefect."""


def state_of(event: NodeEvent) -> State:
    """Return the Prefect state for a node's end."""
    if event.status == "error":
        return Failed(message=event.message)
    if event.status == "skipped":
        return State(
            type=StateType.CANCELLED, name="Skipped", message=event.message or "an upstream node failed"
        )
    if event.status == "warn":
        return Completed(name="Warned", message=event.message)
    return Completed(message=event.message)


class DbtNodes:
    """Shows dbt's nodes in the current flow run: task runs, log lines, one progress artifact.

    Args:
        progress_key: key of the progress artifact; a live bar in `floe run`.
    """

    def __init__(self, progress_key: str) -> None:
        self._flow_run = get_run_context().flow_run.id  # type: ignore[union-attr]
        self._client = get_client(sync_client=True)
        self._logger = get_run_logger()
        self._task_runs: dict[str, UUID] = {}
        self._ended: set[str] = set()
        self._key = progress_key
        self._artifact: UUID | None = None
        self._next_progress = 0.0

    def __enter__(self) -> DbtNodes:
        self._client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, trace)

    def report(self, event: NodeEvent) -> None:
        """Show one event; call it for every event of a run, in order."""
        if event.unique_id in self._ended:
            return
        known = self._task_runs.get(event.unique_id)
        state = Running() if event.status == "running" else state_of(event)
        if known is None:
            created = self._client.create_task_run(
                task=_dbt_node,
                flow_run_id=self._flow_run,
                dynamic_key=event.unique_id,
                name=f"{event.kind} {event.name}",
                state=state,
            )
            self._task_runs[event.unique_id] = created.id
        else:
            self._client.set_task_run_state(known, state, force=True)
        if event.status != "running":
            self._ended.add(event.unique_id)
            self._log(event)
            self._progress(event)

    def _log(self, event: NodeEvent) -> None:
        line = f"{event.kind} {event.name}: {event.status}"
        if event.status == "error":
            self._logger.error("%s: %s", line, event.message)
        elif event.status in ("warn", "skipped"):
            self._logger.warning("%s: %s", line, event.message)
        else:
            self._logger.info("%s in %.1f s", line, event.seconds)

    def _progress(self, event: NodeEvent) -> None:
        last = len(self._ended) == event.total
        if not event.total or (time.monotonic() < self._next_progress and not last):
            return
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        percent = min(100.0, 100 * len(self._ended) / event.total)
        text = f"dbt: {len(self._ended)} of {event.total} nodes, last {event.name}"
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key=self._key, description=text)  # type: ignore[assignment]
        else:
            update_progress_artifact(self._artifact, progress=percent, description=text)
