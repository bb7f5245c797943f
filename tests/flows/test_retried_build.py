"""A retried run of `transform` goes on where it failed, with the real dbt over a real lake."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from prefect.states import AwaitingRetry

from blocks.errors import ConfigurationError, DbtFailed
from blocks.settings import ROOT
from blocks.warehouse import Warehouse
from flows.maintain import maintain
from flows.transform import transform
from tests.airbyte_service import until
from tests.conftest import Cluster
from tests.prefect_host import deployment_on, pool_worker
from tests.shop import (
    BROKEN,
    BUILDS,
    MENDED,
    MODELS,
    NO_RUN,
    ORDERED,
    ORDERS,
    TOTALS,
    Shop,
    open_shop,
)

pytestmark = pytest.mark.thorough
POOL = "cancelled-build"


@pytest.fixture(scope="module")
def opened(
    prefect_server: None,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    """The shop with three orders, built and published once."""
    return open_shop(tmp_path_factory.mktemp("shop"), cluster, extension_directory)


@pytest.fixture
def shop(opened: Shop) -> Shop:
    """The shop with its first models; what was published last is as an earlier test has left it."""
    for file in (opened.folder / "models").glob("*.sql"):
        file.unlink()
    opened.write(**MODELS)
    opened.save()
    opened.run = NO_RUN
    return opened


def test_each_retry_builds_only_what_failed_and_what_was_skipped_after_it(shop: Shop) -> None:
    published, builds = shop.built_at("marts.orders"), shop.builds()
    shop.write(lines=BROKEN)
    with pytest.raises(DbtFailed, match=r"1 failed, 1 skipped\. model lines"):
        shop.new_run(everything=True).result()
    built = shop.built_at()
    assert published == shop.built_at("marts.orders") != built
    assert shop.nodes(1, 5) == {
        "model orders": "Completed",
        "model builds": "Completed",
        "snapshot snp_orders": "Completed",
        "model lines": "Failed",
        "model totals": "Skipped",
    }

    # Mended with a node that is new, and something else is broken.
    shop.write(lines="select id from {{ ref('halves') }}", halves=MENDED, totals="select * from nowhere")
    with pytest.raises(DbtFailed, match=r"1 failed, 0 skipped\. model totals"):
        shop.retry().result()
    assert shop.nodes(2, 3) == {
        "model halves": "Completed",
        "model lines": "Completed",
        "model totals": "Failed",
    }
    assert published == shop.built_at("marts.orders")

    shop.write(totals=TOTALS)
    result = shop.retry().result()
    assert shop.nodes(3, 1) == {"model totals": "Completed"}
    assert (result.models, result.snapshots, result.done_before) == (5, 1, 5)
    assert shop.built_at("marts.orders") == built
    assert shop.rows("select orders from marts.totals") == shop.rows("select count(*) from raw_shop.orders")
    assert shop.builds() == builds + 1
    assert shop.states(4) == ["published", "continued", "continued", "published"]
    # What the first attempt said of a node is still there.
    assert shop.nodes(1, 5)["model lines"] == "Failed"
    assert not (shop.output / "failed").exists()


def new_orders(shop: Shop) -> None:
    with shop.warehouse.connect() as cursor:
        cursor.execute(f"insert into raw_shop.orders {ORDERED.format(100, 101)}")


def another_host(shop: Shop) -> None:
    shutil.rmtree(shop.output / "failed")


def other_model(shop: Shop) -> None:
    shop.write(orders=f"{ORDERS} where id >= 0")


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        (new_orders, "data have come since it began"),
        (other_model, "model orders was built, and has been changed since"),
        (another_host, "the results of run .* are not on this host"),
    ],
)
def test_everything_is_built_from_the_last_good_state_where_going_on_would_mix(
    shop: Shop, meanwhile: Callable[[Shop], None], reason: str
) -> None:
    builds = shop.builds()
    shop.write(lines=BROKEN)
    assert shop.new_run(everything=True).is_failed()
    built = shop.built_at()
    shop.write(lines=MENDED)
    meanwhile(shop)
    assert shop.retry().result().done_before == 0
    assert re.search(reason, shop.log("Everything is built, not only what was left"))
    assert set(shop.nodes(2, 5).values()) == {"Completed"}
    assert shop.built_at("marts.orders") != built
    # The failed attempt has left no trace.
    assert shop.builds() == builds + 1
    assert shop.rows("select orders from marts.totals") == shop.rows("select count(*) from raw_shop.orders")
    assert shop.states(2) == ["restored", "published"]


def test_another_run_begins_with_the_last_good_state_and_takes_the_failed_build_from_its_run(
    shop: Shop,
) -> None:
    builds = shop.builds()
    shop.write(lines=BROKEN)
    assert shop.new_run(everything=True).is_failed()
    failed = shop.run
    shop.write(lines=MENDED)
    assert shop.new_run(everything=True).is_completed()
    assert shop.log("An earlier build failed; restored what is published")
    assert shop.builds() == builds + 1
    shop.run = failed
    assert shop.retry().result().done_before == 0
    assert "another one has begun since" in shop.log("Everything is built")
    assert shop.builds() == builds + 2
    assert shop.states(3) == ["restored", "published", "published"]


def test_a_retry_after_a_rollback_publishes_what_it_went_on_with_and_a_failed_node_has_left_nothing(
    shop: Shop,
) -> None:
    before, builds = shop.built_at("marts.orders"), shop.builds()
    assert shop.new_run(everything=True).is_completed()
    # Its rows are written before the hook fails, in one transaction with it.
    hook = "config(materialized='incremental', post_hook='insert into {{ this }} select * from nowhere')"
    shop.write(builds=BUILDS.replace("config(materialized='incremental')", hook))
    assert shop.new_run(everything=True).is_failed()
    assert shop.builds("build") == builds + 1
    built = shop.built_at()
    with shop.warehouse.publisher() as publisher:
        publisher.rollback()
    assert shop.built_at("marts.orders") == before
    shop.write(builds=BUILDS)
    assert shop.retry().result().done_before == 4
    assert shop.built_at("marts.orders") == built
    assert shop.builds() == builds + 2


def test_a_project_that_dbt_cannot_read_leaves_the_failed_build_for_the_next_retry(shop: Shop) -> None:
    shop.write(lines=BROKEN)
    assert shop.new_run(everything=True).is_failed()
    built = shop.built_at()
    shop.write(lines="select {{ no such thing }}")
    with pytest.raises(ConfigurationError, match="dbt list ended with code 2"):
        shop.retry().result()
    assert shop.states(1) == ["failed"]
    shop.write(lines=MENDED)
    assert shop.retry().result().done_before == 3
    assert shop.built_at("marts.orders") == built


@flow(persist_result=True)
def daily() -> None:
    """Call `transform` as `elt` does."""
    transform(everything=True)


def test_a_retry_of_the_flow_that_called_it_goes_on_too(shop: Shop) -> None:
    shop.write(lines=BROKEN)
    assert shop.new_run(daily).is_failed()
    built = shop.built_at()
    shop.write(lines=MENDED)
    assert shop.retry().is_completed()
    assert shop.built_at("marts.orders") == built
    assert shop.states(2) == ["continued", "published"]


RUN = """
import sys
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from flows.transform import transform

with get_client(sync_client=True) as client:
    run_flow(transform, flow_run=client.read_flow_run(sys.argv[1]))
"""


def test_after_the_kill_of_a_retry_everything_is_built_from_the_last_good_state(shop: Shop) -> None:
    builds = shop.builds()
    shop.write(lines=BROKEN)
    assert shop.new_run(everything=True).is_failed()
    # Takes far longer than the test.
    shop.write(lines="select sum(hash(a.range)) as id from range(1000000) as a, range(1000000)")
    environment = {
        **os.environ,
        "PREFECT_API_URL": PREFECT_API_URL.value() or "",
        "PREFECT_HOME": str(PREFECT_HOME.value()),
    }
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(shop.run, AwaitingRetry(), force=True)
    command = [sys.executable, "-c", RUN, str(shop.run)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: shop.states(2) == ["continued", "running"], "the retry goes on", 120)
        finally:
            process.kill()
    assert shop.states(2) == ["continued", "running"]
    with get_client(sync_client=True) as client:
        # Its slot would be free again when its lease ends.
        client.delete_global_concurrency_limit_by_name("transform")
    shop.save()
    shop.write(lines=MENDED)
    assert shop.retry().result().done_before == 0
    assert shop.builds() == builds + 1
    assert shop.states(3) == ["continued", "restored", "published"]


@pytest.mark.parametrize("waiting", [transform, maintain])
def test_what_must_not_run_beside_a_build_waits_for_its_slot(shop: Shop, waiting: Flow[..., Any]) -> None:
    Warehouse(target=shop.warehouse.target).save("warehouse", overwrite=True)
    other = threading.Thread(target=copy_context().run, args=(shop.new_run, waiting))
    with concurrency("transform", strict=True):
        other.start()
        until(lambda: shop.run != NO_RUN and shop.log("Beginning flow run"), "the run begins", 60)
        # Long enough for its first step.
        other.join(5)
        released = datetime.now(UTC)
    other.join(120)
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(shop.run).state
        steps = FlowRunFilter(id=FlowRunFilterId(any_=[shop.run]))
        began = until(lambda: client.read_task_runs(flow_run_filter=steps), "the steps are told of", 20)
    Warehouse.delete("warehouse")
    assert state is not None
    assert state.is_completed()
    assert min(step.start_time for step in began if step.start_time) > released


@pytest.fixture
def deployed(prefect_server: None) -> Iterator[tuple[UUID, subprocess.Popen[bytes]]]:
    """A deployment of `transform`, and the worker of its pool."""
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        deployment = deployment_on(POOL, transform, POOL)
        with pool_worker(POOL, 1) as worker:
            yield deployment, worker
        client.delete_deployment(deployment)


def test_a_cancelled_build_ends_dbt_and_frees_its_slot(
    shop: Shop, deployed: tuple[UUID, subprocess.Popen[bytes]]
) -> None:
    # Takes far longer than the test.
    shop.write(lines="select sum(hash(a.range)) as id from range(1000000) as a, range(1000000)")
    deployment, worker = deployed

    def dbt() -> list[psutil.Process]:
        found = []
        for each in psutil.Process(worker.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                found += [each] if "blocks.dbt_process" in each.cmdline() else []
        return found

    with get_client(sync_client=True) as client:

        def free() -> bool:
            return not client.read_global_concurrency_limit_by_name("transform").active_slots

        run = client.create_flow_run_from_deployment(deployment)
        until(lambda: shop.states(1) == ["running"] and dbt(), "dbt builds", 120)
        group, taken = dbt(), not free()
        client.set_flow_run_state(run.id, State(type=StateType.CANCELLING))
        until(lambda: client.read_flow_run(run.id).state_name == "Cancelled", "the run is cancelled", 60)
        _, alive = psutil.wait_procs(group, timeout=15)
        assert (taken, alive) == (True, [])
        until(free, "the slot is free", 15)


def test_a_seed_is_a_node_like_any_other_and_prefect_is_told_of_no_materialisation(shop: Shop) -> None:
    seeds = shop.folder / "seeds"
    seeds.mkdir()
    (seeds / "regions.csv").write_text("id,name\n1,north\n")
    shop.write(named="select name from {{ ref('regions') }}")
    try:
        shop.new_run(everything=True).result()
        nodes = shop.nodes(1, 7)
        assert (nodes["seed regions"], nodes["model named"]) == ("Completed", "Completed")
        assert shop.rows("from marts.named") == [("north",)]
        # A number that does not fit: the seed fails, and what reads it is skipped.
        (shop.folder / "seeds" / "seeds.yml").write_text(
            "seeds: [{name: regions, config: {column_types: {name: integer}}}]"
        )
        assert shop.new_run(everything=True, full_refresh=True).is_failed()
        nodes = shop.nodes(1, 7)
        assert (nodes["seed regions"], nodes["model named"]) == ("Failed", "Skipped")
    finally:
        shutil.rmtree(seeds)
        (shop.folder / "models" / "named.sql").unlink()
    with get_client(sync_client=True) as client:
        asset = {"filter": {"event": {"prefix": ["prefect.asset"]}}}
        assert client.request("POST", "/events/filter", json=asset).json()["events"] == []
