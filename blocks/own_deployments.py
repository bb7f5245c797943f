"""Which deployments of the Prefect server are Floe's: nobody else's are touched, nor their runs."""

from __future__ import annotations

from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

# The id of the pull step in `prefect.yaml`, which marks what was deployed from it.
OURS = "floe"
PAGE = 200


def all_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Return every deployment of the server, whoever made it."""
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(limit=PAGE, offset=len(found)):
        found += page
    return found


def own_deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Yield the server's deployments that came from a `prefect.yaml` of ours.

    All are read before the first is given, so that they may be deleted meanwhile.
    """
    for deployment in all_deployments(client):
        steps = [step for each in deployment.pull_steps or [] for step in each.values()]
        if any(step.get("id") == OURS for step in steps):
            yield deployment
