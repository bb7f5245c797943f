"""A retried run of `transform` goes on where it failed, with the real dbt over a real lake."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State, TaskRun
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from prefect.states import AwaitingRetry

from blocks.dbt import DbtProject
from blocks.errors import ConfigurationError, DbtFailed
from blocks.settings import ROOT
from blocks.warehouse import Warehouse
from flows.transform import transform
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.airbyte_service import new_lake_in, until
from tests.conftest import Cluster
from tests.small_project import small_project

pytestmark = pytest.mark.thorough

ORDERED = "select range as id, timestamp '2003-01-02' as updated_at from range({}, {})"
SOURCE = "sources: [{name: shop, schema: raw_shop, tables: [{name: orders}]}]\n"
SNAPSHOT = """
snapshots:
  - {name: snp_orders, relation: "source('shop', 'orders')",
     config: {unique_key: id, strategy: timestamp, updated_at: updated_at}}
"""
ORDERS = "select id, now() as built_at from {{ source('shop', 'orders') }}"
# Every build adds a row: one that is done twice can be seen.
BUILDS = "{{ config(materialized='incremental') }} select now() as built_at"
BROKEN, MENDED = "select nothing_like_it from {{ ref('orders') }}", "select id from {{ ref('orders') }}"
TOTALS = "select count(*) as orders from {{ ref('lines') }}"
MODELS = {"orders": ORDERS, "builds": BUILDS, "lines": MENDED, "totals": TOTALS}


NO_RUN = UUID(int=0)


@dataclass
class Shop:
    """The project of a shop: orders → lines → totals, with a history and a model that grows."""

    folder: Path
    output: Path
    warehouse: Warehouse
    flow: Flow[..., Any] = transform
    run: UUID = NO_RUN

    def save(self) -> None:
        """Let the flow use it."""
        with get_client(sync_client=True) as client:
            client.upsert_global_concurrency_limit_by_name("transform", 1)
        block = DbtProject(warehouse=self.warehouse, output=self.output, project=self.folder)
        block.save("dbt", overwrite=True)

    def write(self, **models: str) -> None:
        """Write models of the project."""
        for name, sql in models.items():
            (self.folder / "models" / f"{name}.sql").write_text(sql)

    def new_run(self, of: Flow[..., Any] = transform) -> State[Any]:
        """Start a run and wait for its end."""
        self.flow = of
        with get_client(sync_client=True) as client:
            self.run = client.create_flow_run(of).id
        return self._attempt()

    def retry(self) -> State[Any]:
        """Retry the run through the API and wait for its end."""
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.run, AwaitingRetry(), force=True)
        return self._attempt()

    def _attempt(self) -> State[Any]:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(self.run)
        ended: State[Any] = run_flow(self.flow, flow_run=flow_run, return_type="state")
        return ended

    def rows(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        with self.warehouse.connect() as cursor:
            return list(cursor.execute(query).fetchall())

    def built_at(self, model: str = "build.orders") -> Any:
        """Return when a model was built."""
        return self.rows(f"select max(built_at) from {model}")[0][0]

    def states(self, last: int) -> list[str]:
        """Return how the last attempts at builds ended, in their order."""
        states = [state for (state,) in self.rows("select state from ops.builds order by started_at")]
        return states[-last:]

    def builds(self, schema: str = "marts") -> int:
        """Return how many builds the model `builds` has seen."""
        return int(self.rows(f"select count(*) from {schema}.builds")[0][0])

    def nodes(self, attempt: int, count: int) -> dict[str, str]:
        """Return the states of the nodes that an attempt ran; waited for, as the server writes in batches."""

        def written() -> dict[str, str] | None:
            with get_client(sync_client=True) as client:
                found = client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.run]))
                )
            ended = {task.name: str(task.state_name) for task in found if self._is_of(task, attempt)}
            return ended if len(ended) >= count else None

        return dict(until(written, f"{count} nodes of attempt {attempt} end", 20))

    def _is_of(self, task: TaskRun, attempt: int) -> bool:
        own = task.dynamic_key.endswith(f" in attempt {attempt}") or (
            attempt == 1 and " in attempt " not in task.dynamic_key
        )
        return own and "floe." in task.dynamic_key and bool(task.state and task.state.is_final())

    def log(self, start: str) -> str:
        """Return the line of the run's log that begins so; waited for."""

        def written() -> str | None:
            with get_client(sync_client=True) as client:
                logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[self.run])))
            return next((log.message for log in logs if log.message.startswith(start)), None)

        return str(until(written, f"the log says {start}", 20))


@pytest.fixture(scope="module")
def opened(
    prefect_server: None,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    """The shop with three orders, built and published once."""
    root = tmp_path_factory.mktemp("shop")
    lake: DuckLakeSettings = new_lake_in(root, cluster, extension_directory)
    made = Shop(small_project(root / "project"), root / "output", Warehouse(target=lake))
    made.save()
    with made.warehouse.connect() as cursor:
        cursor.execute(f"create schema raw_shop; create table raw_shop.orders as {ORDERED.format(0, 3)}")
    (made.folder / "models" / "shop.yml").write_text(SOURCE)
    (made.folder / "snapshots").mkdir()
    (made.folder / "snapshots" / "snp.yml").write_text(SNAPSHOT)
    made.write(**MODELS)
    assert made.new_run().is_completed()
    return made


@pytest.fixture
def shop(opened: Shop) -> Shop:
    """The shop with its first models; what was published last is as an earlier test has left it."""
    for file in (opened.folder / "models").glob("*.sql"):
        file.unlink()
    opened.write(**MODELS)
    opened.save()
    return opened


def test_each_retry_builds_only_what_failed_and_what_was_skipped_after_it(shop: Shop) -> None:
    published, builds = shop.built_at("marts.orders"), shop.builds()
    shop.write(lines=BROKEN)
    with pytest.raises(DbtFailed, match=r"1 failed, 1 skipped\. model lines"):
        shop.new_run().result()
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
    assert shop.new_run().is_failed()
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
    assert shop.new_run().is_failed()
    failed = shop.run
    shop.write(lines=MENDED)
    assert shop.new_run().is_completed()
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
    assert shop.new_run().is_completed()
    # Its rows are written before the hook fails, in one transaction with it.
    hook = "config(materialized='incremental', post_hook='insert into {{ this }} select * from nowhere')"
    shop.write(builds=BUILDS.replace("config(materialized='incremental')", hook))
    assert shop.new_run().is_failed()
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
    assert shop.new_run().is_failed()
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
    transform()


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
    assert shop.new_run().is_failed()
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
