"""Which deployments of the Prefect server are Floe's: nobody else's are touched, nor their runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from blocks.server_pages import all_pages

# The id of the pull step in `prefect.yaml`, which marks what was deployed from it; and the tag of its runs.
OURS = "floe"


def all_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Return every deployment of the server, whoever made it."""
    return all_pages(client.read_deployments)


def own_deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Yield the server's deployments that came from a `prefect.yaml` of ours.

    All are read before the first is given, so that they may be deleted meanwhile.
    """
    for deployment in all_deployments(client):
        steps = [step for each in deployment.pull_steps or [] for step in each.values()]
        if any(step.get("id") == OURS for step in steps):
            yield deployment


def named(
    client: SyncPrefectClient, deployments: Iterable[DeploymentResponse]
) -> Iterator[tuple[str, DeploymentResponse]]:
    """Yield deployments with their names, `flow/deployment`."""
    flows: dict[UUID, str] = {}
    for deployment in deployments:
        if deployment.flow_id not in flows:
            flows[deployment.flow_id] = client.read_flow(deployment.flow_id).name
        yield f"{flows[deployment.flow_id]}/{deployment.name}", deployment
