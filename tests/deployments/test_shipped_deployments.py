"""The shipped `prefect.yaml` on a real server of its own: what somebody on call relies on is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from blocks.own_deployments import OURS
from deployments.prefect_objects import declared_deployments, deploy
from tests.prefect_host import PrefectHost

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A client of a server that has had `floe deploy`."""
    home = tmp_path_factory.mktemp("shipped")
    host = PrefectHost(home)
    with temporary_settings({PREFECT_API_URL: host.api, PREFECT_HOME: home}):
        try:
            host.serve()
            deploy()
            with get_client(sync_client=True) as client:
                yield client
        finally:
            host.stop()


@pytest.fixture(scope="module")
def shipped(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """The deployments as the server has them, by `flow/deployment`."""
    return {f"{client.read_flow(each.flow_id).name}/{each.name}": each for each in client.read_deployments()}


def test_every_declared_deployment_is_there_and_queues_behind_its_own_run(
    shipped: dict[str, DeploymentResponse],
) -> None:
    assert sorted(shipped) == sorted(declared_deployments())
    for name, each in shipped.items():
        limit, options = each.global_concurrency_limit, each.concurrency_options
        assert limit is not None and limit.limit == 1, name
        assert options is not None and options.collision_strategy == "ENQUEUE", name
        assert OURS in each.tags, name


def test_what_is_put_back_after_a_crash_is_what_goes_on_where_it_stood(
    shipped: dict[str, DeploymentResponse],
) -> None:
    assert sorted(name for name, each in shipped.items() if "resume" in each.tags) == [
        "backfill/manual",
        "elt/daily",
    ]


def test_schedules_have_a_time_zone_and_wait_to_be_switched_on(
    shipped: dict[str, DeploymentResponse],
) -> None:
    schedules = {name: each.schedules for name, each in shipped.items() if each.schedules}
    assert {"elt/daily", "maintain/daily", "emit/outbox"} <= schedules.keys()
    for name, (only,) in schedules.items():
        assert not only.active, name
        assert getattr(only.schedule, "timezone", None) or name == "emit/outbox"


def test_files_and_syncs_start_a_build_and_a_build_the_dashboards(
    client: SyncPrefectClient, shipped: dict[str, DeploymentResponse]
) -> None:
    for name in ("transform/marts", "publish/metabase"):
        (automation,) = client.read_resource_related_automations(f"prefect.deployment.{shipped[name].id}")
        assert automation.enabled, name
