"""Retries by class: a transient failure is tried again with growing pauses, a permanent one never."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from blocks.errors import TransientError

TRIES_AGAIN = 3
FIRST_PAUSE_SECONDS = 5


def is_transient(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Tell whether a failed task run is worth another try; only the class of its error counts."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


def by_class(retries: int = TRIES_AGAIN, first_pause_seconds: float = FIRST_PAUSE_SECONDS) -> dict[str, Any]:
    """Return the options of `@task` for retries of transient failures, with backoff and jitter.

    Args:
        retries: tries after the first.
        first_pause_seconds: before the first of them; each next pause is twice as long.
    """
    return {
        "retries": retries,
        "retry_delay_seconds": exponential_backoff(first_pause_seconds),
        "retry_jitter_factor": 0.5,
        "retry_condition_fn": is_transient,
    }
