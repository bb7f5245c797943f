"""Runs of other deployments, mostly on other hosts, that a flow waits for: how they fail.

An alert of its own tells of a run that failed (deployments/alerts.py), and names who waited for it. So none
tells of a run that ends with `RunFailed`, and nothing else may be raised as that.
"""

from __future__ import annotations

from prefect import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import ObjectNotFound

from blocks.errors import ConfigurationError, PermanentError, TransientError

# The states of a failed run that alerts look for.
FAILED = ("Failed", "TimedOut")


class RunFailed(PermanentError):
    """A flow run that this one waited for failed, or several did: alerts tell of them, not of this one."""


class RunNotCompleted(PermanentError):
    """A flow run that this one waited for was cancelled, or ended as no alert tells of."""


class RunCrashed(TransientError):
    """The process of a flow run on another host was killed, or its worker or host went down."""


def require_deployments(*deployments: str, state: str) -> None:
    """Refuse to ask for runs of what the Prefect server does not have.

    Args:
        deployments: `flow/deployment`, each.
        state: what is left behind otherwise.

    Raises:
        ConfigurationError: there is no deployment of that name.
    """
    with get_client(sync_client=True) as client:
        for deployment in deployments:
            try:
                client.read_deployment_by_name(deployment)
            except ObjectNotFound:
                raise ConfigurationError(
                    f"There is no deployment {deployment}",
                    state=state,
                    next_command="floe status lists the deployments; one that is missing is declared in "
                    "prefect.yaml, then floe deploy",
                ) from None


def require_completed(run: FlowRun, deployment: str, *, state: str, then: str = "") -> None:
    """Raise unless an ended run has completed.

    Args:
        run: as it ended.
        deployment: of the run, `flow/deployment`.
        state: what is left behind otherwise.
        then: what comes after a look at its logs.

    Raises:
        RunFailed: it failed; its message is in ours.
        RunNotCompleted: it was cancelled, or did not complete in another way.
        RunCrashed: its process died.
    """
    if run.state is not None and run.state.is_completed():
        return
    ended = f"{run.state.name}: {run.state.message}" if run.state else "without a state"
    raise _kind(run.state)(
        f"{deployment} ended {ended}", state=state, next_command=f"prefect flow-run logs {run.id}{then}"
    )


def _kind(state: State | None) -> type[RunFailed | RunNotCompleted | RunCrashed]:
    if state is not None and state.is_crashed():
        return RunCrashed
    return RunFailed if state is not None and state.name in FAILED else RunNotCompleted
