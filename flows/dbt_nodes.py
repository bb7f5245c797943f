"""Each dbt node as a task run of its own, fed by dbt's events.

Prefect's own dbt runner reports a skipped node as completed; here a node has the state that dbt
gave it, and "Skipped" is a state of its own kind.

Task runs travel as events, as those of Prefect's own tasks do: the server writes them in batches,
where one request each would keep it busy longer than dbt is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from logging import Logger, LoggerAdapter
from typing import Any, cast
from uuid import UUID, uuid4

from prefect import task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.client.schemas.objects import State, StateDetails, StateType, TaskRun
from prefect.context import FlowRunContext, get_run_context
from prefect.events import Event
from prefect.logging import get_run_logger
from prefect.logging.loggers import task_run_logger
from prefect.states import Completed, Failed, Running
from prefect.types import DateTime
from prefect.utilities.engine import emit_task_run_state_change_event

from blocks.dbt_events import NodeEvent
from blocks.dbt_failures import FailedNode
from flows.stream_bars import drawn

# Each update is a request of its own; a bar need not move faster than it is looked at.
PROGRESS_SECONDS = 1.0


@task(name="dbt node")
def _dbt_node() -> None:
    """A node of the dbt project; dbt runs it, this only names it in Prefect."""


def state_of(event: NodeEvent) -> State:
    """Return the Prefect state for what dbt says of a node."""
    if event.status == "running":
        return Running()
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
        flow_run = cast(FlowRunContext, get_run_context()).flow_run
        assert flow_run is not None  # noqa: S101 - flows report within their run
        self._flow_run = flow_run.id
        # The server knows a task run of a flow run by its key: what an earlier attempt says of a node stays.
        self._attempt = f" in attempt {flow_run.run_count}" if flow_run.run_count > 1 else ""
        self._logger = get_run_logger()
        self._task_runs: dict[str, TaskRun] = {}
        self._last_events: dict[str, Event | None] = {}
        self._ended: set[str] = set()
        self._key = progress_key
        self._artifact: UUID | None = None
        self._next_progress = 0.0
        # Not every event says it: ends of tests do not.
        self._total = 0

    def report(self, event: NodeEvent) -> None:
        """Show one event; call it for every event of a run, in order."""
        if event.unique_id in self._ended:
            return
        self._emit(event.unique_id, f"{event.kind} {event.name}", state_of(event))
        if event.status != "running":
            self._ended.add(event.unique_id)
            self._log(event)
            self._progress(event)

    def explain(self, failed: Sequence[FailedNode], key: str) -> None:
        """Show the SQL of failed nodes in the logs of their task runs, and all of them in a table.

        Args:
            failed: the nodes, whose ends were reported.
            key: of the table artifact.
        """
        for node in failed:
            where = f" ({node.compiled})" if node.compiled else ""
            sql = f"its SQL{where}:\n{node.sql}" if node.sql else "it has no compiled SQL"
            logger = self._logger_of(node.unique_id)
            logger.error("%s %s: %s", node.kind, node.name, sql)
            if node.query:
                logger.error(
                    "%s %s: %s failing rows: %s", node.kind, node.name, node.failing_rows, node.query
                )
        table = [
            {
                "node": f"{node.kind} {node.name}",
                "dbt says": node.message,
                "failing rows": node.failing_rows,
                "see them": node.query,
                "compiled SQL": node.compiled,
            }
            for node in failed
        ]
        drawn(lambda: create_table_artifact(key=key, table=table, description="What failed in dbt build"))

    def _logger_of(self, unique_id: str) -> Logger | LoggerAdapter[Any]:
        task_run = self._task_runs.get(unique_id)
        return task_run_logger(task_run, _dbt_node) if task_run is not None else self._logger

    def _emit(self, unique_id: str, name: str, state: State) -> None:
        at = cast(DateTime, state.timestamp)
        task_run = self._task_runs.get(unique_id) or TaskRun(
            id=uuid4(),
            name=name,
            flow_run_id=self._flow_run,
            task_key=_dbt_node.task_key,
            dynamic_key=unique_id + self._attempt,
            run_count=1,
            start_time=at,
        )
        before = task_run.state
        state.state_details = StateDetails(flow_run_id=self._flow_run, task_run_id=task_run.id)
        task_run.state, task_run.state_id = state, state.id
        task_run.state_type, task_run.state_name = state.type, state.name
        if state.is_final():
            task_run.end_time = at
            task_run.total_run_time = at - (task_run.start_time or at)
        self._last_events[unique_id] = emit_task_run_state_change_event(
            task_run, before, state, follows=self._last_events.get(unique_id)
        )
        self._task_runs[unique_id] = task_run

    def _log(self, event: NodeEvent) -> None:
        line = f"{event.kind} {event.name}: {event.status}"
        if event.status == "error":
            self._logger.error("%s: %s", line, event.message)
        elif event.status in ("warn", "skipped"):
            self._logger.warning("%s: %s", line, event.message)
        else:
            self._logger.info("%s in %.1f s", line, event.seconds)

    def _progress(self, event: NodeEvent) -> None:
        self._total = max(self._total, event.total)
        last = len(self._ended) == self._total
        if not self._total or (time.monotonic() < self._next_progress and not last):
            return
        self._next_progress = time.monotonic() + PROGRESS_SECONDS
        percent = min(100.0, 100 * len(self._ended) / self._total)
        text = f"dbt: {len(self._ended)} of {self._total} nodes, last {event.name}"
        if self._artifact is None:
            self._artifact = create_progress_artifact(percent, key=self._key, description=text)  # type: ignore[assignment]
        else:
            update_progress_artifact(self._artifact, progress=percent, description=text)
