"""A shop's dbt project with its lake: orders → lines → totals, with a history and a model that grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import State, TaskRun
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry

from blocks.dbt import DbtProject
from blocks.warehouse import Warehouse
from flows.transform import transform
from tests.airbyte_service import new_lake_in, until
from tests.conftest import Cluster
from tests.small_project import small_project

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

    def new_run(self, of: Flow[..., Any] = transform, **parameters: Any) -> State[Any]:
        """Start a run and wait for its end."""
        self.flow = of
        with get_client(sync_client=True) as client:
            self.run = client.create_flow_run(of, parameters=parameters).id
        return self.attempt()

    def retry(self) -> State[Any]:
        """Retry the run through the API and wait for its end."""
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.run, AwaitingRetry(), force=True)
        return self.attempt()

    def attempt(self) -> State[Any]:
        """Start the run, new or retried, and wait for its end."""
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


def open_shop(root: Path, cluster: Cluster, extension_directory: Path) -> Shop:
    """Make the shop with three orders, built and published once."""
    made = Shop(
        small_project(root / "project"),
        root / "output",
        Warehouse(target=new_lake_in(root, cluster, extension_directory)),
    )
    made.save()
    with made.warehouse.connect() as cursor:
        cursor.execute(f"create schema raw_shop; create table raw_shop.orders as {ORDERED.format(0, 3)}")
    (made.folder / "models" / "shop.yml").write_text(SOURCE)
    (made.folder / "snapshots").mkdir()
    (made.folder / "snapshots" / "snp.yml").write_text(SNAPSHOT)
    made.write(**MODELS)
    assert made.new_run().is_completed()
    return made
