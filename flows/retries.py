"""Retries by class: a transient failure is tried again with growing pauses, a permanent one never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from prefect import task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff
from pydantic import Field

from blocks.errors import TransientError

TRIES_AGAIN = 3
FIRST_PAUSE_SECONDS = 5.0

FirstPauseSeconds = Annotated[
    float, Field(ge=0, description="before a step is tried again; each next pause is twice as long")
]
T = TypeVar("T")


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


@dataclass(frozen=True)
class Steps:
    """The steps of a flow run, each a task run that transient failures only delay.

    Attributes:
        first_pause_seconds: before the second try of a step; each next pause is twice as long.
    """

    first_pause_seconds: float = FIRST_PAUSE_SECONDS

    def run(self, what: str, work: Callable[[], T]) -> T:
        """Do one step, again after each transient failure.

        Args:
            what: names the task run.
            work: what to do. Doing it twice must do no harm.

        Raises:
            TransientError: the last try failed, too.
            PermanentError: it was tried once.
        """
        again: Any = _step.with_options(**by_class(first_pause_seconds=self.first_pause_seconds))
        done: T = again(what, work)
        return done


# Nothing is kept: what a step returns is of its own run only, and often an open connection hangs on it.
@task(name="step", task_run_name="{what}", persist_result=False)
def _step(what: str, work: Callable[[], T]) -> T:
    """A step of a flow that may be done again when a server did not answer."""
    return work()
