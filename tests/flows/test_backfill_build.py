"""How `backfill` builds and shows the marts, on a real Prefect server with the trigger of `prefect.yaml`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.states import Completed

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_streams import ReplicatedStream
from blocks.errors import DbtFailed
from blocks.warehouse import Warehouse
from deployments.prefect_objects import PREFECT_YAML
from flows.backfill import backfill
from tests.airbyte_service import until
from tests.conftest import Cluster
from tests.shop import BROKEN, MENDED, Shop, open_shop

pytestmark = pytest.mark.thorough
SOURCE = "till"
COMPARE = f"reconcile/{SOURCE}"
ASKED = "a flow"
DECLARED = ("backfill/manual", "transform/marts", "publish/metabase")


@pytest.fixture(scope="module")
def shop(
    prefect_server: None,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """The shop, built and published once; its orders are a stream of the source `till`."""
    made = open_shop(tmp_path_factory.mktemp("till"), cluster, extension_directory)
    orders = ReplicatedStream(namespace="public", name="orders", raw_schema="raw_shop", raw_table="orders")
    AirbyteConnection(
        # Nothing asks it: what reconciles is not run here.
        server=AirbyteServer(server_url="http://127.0.0.1:9", token="none"),  # type: ignore[arg-type]
        connection_id=SOURCE,
        name=SOURCE,
        destination_schema="raw_shop",
        streams=(orders,),
    ).save(SOURCE, overwrite=True)
    made.warehouse.save("warehouse", overwrite=True)
    yield made
    Warehouse.delete("warehouse")
    AirbyteConnection.delete(SOURCE)


@pytest.fixture(scope="module")
def deployed(prefect_server: None) -> Iterator[dict[str, UUID]]:
    """Deployments with the tags that `prefect.yaml` gives them, and its trigger of the dashboards."""
    declared = {
        f"{each['entrypoint'].rpartition(':')[2]}/{each['name']}": each
        for each in yaml.safe_load(PREFECT_YAML.read_text())["deployments"]
    }
    tags = {name: declared[name]["tags"] for name in DECLARED} | {COMPARE: []}
    (trigger,) = declared["publish/metabase"]["triggers"]
    with get_client(sync_client=True) as client:
        made = {}
        for name, its in tags.items():
            flow, _, own = name.partition("/")
            made[name] = client.create_deployment(client.create_flow_from_name(flow), name=own, tags=its)
        # So that a publication tells of which run it comes.
        of = {"of": {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}}
        parsed = DeploymentEventTrigger.model_validate({"name": "shown", "parameters": of, **trigger})
        parsed.set_deployment_id(made["publish/metabase"])
        automation = client.create_automation(parsed.as_automation())
        yield made
        client.delete_automation(automation)
        for deployment in made.values():
            client.delete_deployment(deployment)


@pytest.fixture
def others_end(deployed: dict[str, UUID]) -> Iterator[None]:
    """Let runs of the other deployments complete: no worker takes them."""
    others = DeploymentFilterId(any_=[own for name, own in deployed.items() if name != "backfill/manual"])
    over = threading.Event()

    def end() -> None:
        with get_client(sync_client=True) as client:
            while not over.wait(0.2):
                for run in client.read_flow_runs(deployment_filter=DeploymentFilter(id=others)):
                    if run.state is None or not run.state.is_final():
                        client.set_flow_run_state(run.id, Completed(), force=True)

    # With the settings of this thread, which name the server.
    ending = threading.Thread(target=copy_context().run, args=(end,))
    ending.start()
    yield
    over.set()
    ending.join(20)


def started(shop: Shop, deployed: dict[str, UUID], **parameters: bool) -> None:
    """Make a run of `backfill/manual` the shop's run."""
    asked = {"sources": [{"source": SOURCE, "refresh": False}], **parameters}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(deployed["backfill/manual"], parameters=asked)
    shop.flow, shop.run = backfill, run.id


def ids_of(deployment: UUID) -> set[UUID]:
    """Return the runs of a deployment."""
    of = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
    with get_client(sync_client=True) as client:
        return {run.id for run in client.read_flow_runs(flow_run_filter=of)}


class Publications:
    """The runs of `publish/metabase` from now on."""

    def __init__(self, deployed: dict[str, UUID]) -> None:
        self._deployed, self._before = deployed, ids_of(deployed["publish/metabase"])

    def asked_for_by(self) -> list[str]:
        """Return what asked for each: the id of a run whose marts are shown, or ASKED.

        A run of `transform/marts` is made first, and its publication waited for, which is not among them:
        then the trigger has seen everything that came before.
        """
        with get_client(sync_client=True) as client:
            last = str(client.create_flow_run_from_deployment(self._deployed["transform/marts"]).id)
            until(lambda: last in self._all(), "the marts of transform/marts are shown", 60)
        return [each for each in self._all() if each != last]

    def _all(self) -> list[str]:
        with get_client(sync_client=True) as client:
            new = ids_of(self._deployed["publish/metabase"]) - self._before
            return [str(client.read_flow_run(run).parameters.get("of", ASKED)) for run in new]


def test_new_marts_are_not_shown_when_no_dashboards_are_asked_for(
    shop: Shop, deployed: dict[str, UUID], others_end: None
) -> None:
    publications = Publications(deployed)
    started(shop, deployed, dashboards=False)
    assert shop.attempt().is_completed()
    assert shop.states(2) == ["published", "published"]
    assert publications.asked_for_by() == []


def test_a_retry_builds_only_what_was_left_and_the_marts_are_shown_once(
    shop: Shop, deployed: dict[str, UUID], others_end: None
) -> None:
    publications, compared = Publications(deployed), ids_of(deployed[COMPARE])
    shop.write(lines=BROKEN)
    started(shop, deployed, full_refresh=True)
    with pytest.raises(DbtFailed, match=r"1 failed, 1 skipped\. model lines"):
        shop.attempt().result()
    built = shop.built_at()
    shop.write(lines=MENDED)
    assert shop.retry().is_completed()
    # As after a crash at its very end: nothing is left to do.
    assert shop.retry().is_completed()
    assert shop.built_at("marts.orders") == shop.built_at() == built
    assert shop.states(2) == ["continued", "published"]
    assert publications.asked_for_by() == [ASKED]
    assert len(ids_of(deployed[COMPARE]) - compared) == 1
