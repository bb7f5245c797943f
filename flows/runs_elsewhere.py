"""Runs of other deployments, mostly on other hosts, that a flow waits for: how they fail."""

from __future__ import annotations

from prefect import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound

from blocks.errors import ConfigurationError, PermanentError, TransientError


class RunFailed(PermanentError):
    """A flow run that this one started on another host did not complete."""


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
        RunFailed: it did not complete; its message is in ours.
        RunCrashed: its process died.
    """
    if run.state is not None and run.state.is_completed():
        return
    ended = f"{run.state.name}: {run.state.message}" if run.state else "without a state"
    kind = RunCrashed if run.state and run.state.is_crashed() else RunFailed
    raise kind(
        f"{deployment} ended {ended}", state=state, next_command=f"prefect flow-run logs {run.id}{then}"
    )
