"""The README's main job, as a person runs it, and what must hold after each step.

The tests of this module are one story on one stack and run in the order in which they stand.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry

from blocks.slim_build import KEY
from deployments.local import leftovers
from deployments.prefect_objects import declared_deployments
from tests.e2e.conftest import ROOT, Stack
from tests.e2e.contents import CONNECTIONS, STREAMS, checksum, mart_contents

pytestmark = pytest.mark.e2e


@dataclass
class Told:
    """What one chapter of the story leaves to the next: what stood before the simulated days."""

    boundary: dict[tuple[str, str], int] = field(default_factory=dict)
    syncs: int = 0
    customer: int = 0
    email: str = ""


@pytest.fixture(scope="module")
def told() -> Told:
    """What the chapters before have left."""
    return Told()


def events(stack: Stack) -> list[dict[str, Any]]:
    """Return the simulator's event log."""
    return [json.loads(line) for line in stack.home.event_log.read_text().splitlines()]


def test_the_demo_runs_from_nothing_and_leaves_no_process(stack: Stack) -> None:
    printed = stack.succeed("floe", "demo", "--once")
    for promised in ("rows written", "models built", "tests passed", "files", "How the time divides"):
        assert promised in printed
    assert "Everything stops now; floe up starts it again to look at." in printed
    assert leftovers.find(stack.home) == []


def test_every_replicated_table_equals_its_source(stack: Stack) -> None:
    printed = stack.succeed("floe", "up")
    for place in ("Prefect UI", "Dashboards", "SQL shell"):
        assert place in printed
    for source, table in STREAMS:
        with stack.source(source) as database:
            there = checksum(database.execute(f"select * from {table}"))
        here = checksum(
            stack.query(f"select columns(c -> not starts_with(c, '_airbyte_')) from raw_{source}.{table}")
        )
        assert here == there, f"{source}.{table}"


def test_every_file_is_loaded_once(stack: Stack) -> None:
    files = sorted((stack.home.mirror).rglob("inventory_*.csv"))
    lines = sum(len(file.read_bytes().splitlines()) - 1 for file in files)
    loaded = stack.query(
        "select count(*), count(distinct (inv_date_sk, inv_item_sk, inv_warehouse_sk)),"
        " count(distinct _file_id) from raw_files.inventory"
    )
    assert loaded == [(lines, lines, len(files))]


def test_the_manifest_of_what_is_published_is_kept_for_slim_builds(stack: Stack) -> None:
    (kept,) = stack.home.mirror.rglob(KEY)
    assert "model.floe.fct_sales" in json.loads(kept.read_text())["nodes"]


def test_sales_totals_of_the_mart_equal_the_sources_to_the_cent(stack: Stack) -> None:
    published = stack.query(
        "select sales_channel, count(*), sum(quantity), sum(gross_sales_amount), sum(net_profit_amount)"
        " from marts.fct_sales group by sales_channel order by sales_channel"
    )
    with stack.source("erp") as erp:
        expected = [
            (
                channel,
                *erp.execute(
                    f"select count(*), sum({p}_quantity), sum({p}_ext_sales_price), sum({p}_net_profit)"
                    f" from {channel}_sales"
                ).fetchone(),
            )
            for channel, p in (("catalog", "cs"), ("web", "ws"))
        ]
    assert [tuple(map(str, row)) for row in published] == [tuple(map(str, row)) for row in expected]
    assert all(isinstance(row[3], Decimal) for row in published)


def test_the_dashboards_page_is_served_with_its_charts(stack: Stack) -> None:
    index = httpx.get(str(stack.settings().dashboards.url), trust_env=False)
    assert index.is_success
    pages = set(re.findall(r'href="([a-z_]+\.html)"', index.text))
    assert {f"{file.stem}.html" for file in (ROOT / "deployments/dashboards").glob("*.yaml")} <= pages


def test_bad_data_in_a_source_fails_the_run_and_readers_keep_the_last_good_state(
    stack: Stack, told: Told
) -> None:
    before = mart_contents(stack)
    history = stack.query("select count(*), max(dbt_updated_at) from snapshots.snp_customers")
    told.boundary, told.syncs = rows_at_boundary(stack), max_sync(stack)
    stack.succeed("floe", "simulate", "--days", "3", "--seed", "7")
    with stack.source("crm") as crm:
        told.customer, told.email = crm.execute(
            "select c_customer_sk, c_email_address from customer"
            " where c_email_address is not null and not c_customer_sk = any(%s) order by 1 limit 1",
            [
                [
                    json.loads(key)["c_customer_sk"]
                    for pair, key in changed_rows(stack)
                    if pair == ("crm", "customer")
                ]
            ],
        ).fetchone() or (0, "")
        set_email(crm, told.customer, "not an address")
    with Reader(stack) as reader:
        failed = stack.run("floe", "run")
    assert failed.returncode == 1
    assert re.search(r"test \w*email\w*", failed.stdout), failed.stdout
    assert len(set(reader.seen)) == 1
    assert mart_contents(stack) == before
    assert stack.query("select count(*), max(dbt_updated_at) from snapshots.snp_customers") == history


def test_a_retry_goes_on_where_the_run_had_failed_and_disturbs_no_reader(stack: Stack, told: Told) -> None:
    between = rows_at_boundary(stack)
    told.boundary = {pair: rows + between[pair] for pair, rows in told.boundary.items()}
    with stack.source("crm") as crm:
        set_email(crm, told.customer, told.email)
    stack.succeed("floe", "run", "replicate/crm")
    syncs, ingested = max_sync(stack), runs_of(stack, "ingest-csv")
    count = "select 'sales', count(*) from marts.fct_sales;"
    with Reader(stack) as reader, stack.start("floe", "sql") as shell:
        assert shell.stdin is not None
        shell.stdin.write(f"begin;\n{count}\n")
        shell.stdin.flush()
        assert retried(stack, "elt/daily").is_completed()
        printed, _ = shell.communicate(f"{count}\ncommit;\n{count}\n", timeout=60)
    # What had completed in the failed run was not done again.
    assert (max_sync(stack), runs_of(stack, "ingest-csv")) == (syncs, ingested)
    # Every read saw a whole set: the one before the publication, or the one after it.
    assert 1 <= len(set(reader.seen)) <= 2
    # The open transaction saw one state all the while, and the new one when it had ended.
    before, meanwhile, after = re.findall(r"sales\s+(\d+)", printed)
    assert before == meanwhile < after
    emails = stack.query(
        f"select distinct email_address from marts.dim_customers_history where customer_sk = {told.customer}"
    )
    assert emails == [(told.email,)]


def test_simulated_days_arrive_as_they_happened(stack: Stack, told: Told) -> None:
    changed = Counter(pair for pair, _ in changed_rows(stack))
    # The bad address was synced, and so was its repair.
    changed["crm", "customer"] += 2
    synced = {
        (connection, stream): (read, written)
        for connection, stream, read, written in stack.query(
            "select connection, stream, sum(rows_read), sum(rows_written) from ops.syncs"
            f" where sync_id > {told.syncs} group by all"
        )
    }
    incremental = [pair for pair in STREAMS if sync_mode(pair).startswith("incremental")]
    assert len(incremental) >= 7
    assert sum(changed[pair] for pair in incremental) > 100
    for pair in incremental:
        read, written = synced[pair]
        assert written == changed[pair], pair
        assert written <= read <= changed[pair] + told.boundary[pair], pair


def test_a_customer_who_moved_has_two_versions_that_touch(stack: Stack) -> None:
    moved = {
        key["c_customer_sk"] for (pair, key) in keys_of_kind(stack, "move") if pair == ("crm", "customer")
    }
    assert moved
    for customer in moved:
        versions = stack.query(
            "select valid_from, valid_to, is_current from marts.dim_customers_history"
            f" where customer_sk = {customer} order by valid_from"
        )
        assert len(versions) >= 2
        assert [version[2] for version in versions] == [False] * (len(versions) - 1) + [True]
        for earlier, later in itertools.pairwise(versions):
            assert earlier[1] == later[0]


def test_late_sales_and_the_new_week_are_in_the_marts(stack: Stack) -> None:
    late = [(pair[1], key) for (pair, key) in keys_of_kind(stack, "late_sale")]
    assert late
    sold = {
        (f"{channel}_sales", item, order)
        for channel, item, order in stack.query(
            "select sales_channel, item_sk, order_number from marts.fct_sales"
        )
    }
    for table, key in late:
        item, order = (
            next(v for k, v in key.items() if k.endswith(part)) for part in ("item_sk", "order_number")
        )
        assert (table, item, order) in sold
    week = [event for event in events(stack) if event["operation"] == "land"]
    assert [event["key"] for event in week] == ["landing/inventory/inventory_2003-01-02.csv"]
    stock = stack.query(
        "select count(*) from raw_files.inventory where inv_date_sk ="
        " (select date_sk from marts.dim_dates where date = date '2003-01-02')"
    )
    assert stock == [(week[0]["rows"],)]


def test_status_and_logs_tell_what_runs_and_what_ran(stack: Stack) -> None:
    said = stack.succeed("floe", "status")
    for service in ("postgres-sources", "airbyte", "event-source", "worker-dbt-host"):
        assert re.search(rf"{service}\s+running", said), said
    for deployment in declared_deployments():
        assert deployment in said
    for deployment in ("elt/daily", "replicate/crm", "publish/metabase"):
        assert re.search(rf"{deployment}\s+[\d-]+ [\d:]+\s+Completed\s+\d+", said), said
    for line in (r"source crm +good +5 streams", r"files inventory +good +\d+ loaded", r"marts +good +16 p"):
        assert re.search(line, said), said
    assert "Worker 'dbt-host' submitting flow run" in stack.succeed(
        "floe", "logs", "worker-dbt-host", "--lines", "500"
    )
    # A client waits for seconds after each request that fails so.
    assert "database is locked" not in (stack.home.logs / "prefect.log").read_text()


def test_deploying_again_changes_nothing(stack: Stack) -> None:
    told = stack.succeed("floe", "deploy").splitlines()
    assert told == ["Deployments: as declared", "Automations: as declared"]


def test_down_ends_every_process(stack: Stack) -> None:
    processes = leftovers.find(stack.home)
    assert processes
    stack.succeed("floe", "down")
    assert [process for process in processes if process.is_running()] == []


def runs_of(stack: Stack, flow: str) -> int:
    """Return how many runs of a flow there have been."""
    with stack.prefect() as prefect:
        return len(prefect.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow]))))


def retried(stack: Stack, deployment: str) -> State:
    """Retry the last run of a deployment as the UI's button does, and return the state it ends in."""
    with stack.prefect() as prefect:
        of = FlowRunFilterDeploymentId(any_=[prefect.read_deployment_by_name(deployment).id])
        (last,) = prefect.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=of),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=1,
        )
        prefect.set_flow_run_state(last.id, AwaitingRetry(), force=True)
        for _ in range(300):
            state = prefect.read_flow_run(last.id).state
            assert state is not None
            if state.is_final():
                return state
            time.sleep(1)
        raise AssertionError(f"{deployment} is still {state.name}")


def max_sync(stack: Stack) -> int:
    """Return the id of the last sync so far."""
    return int(stack.query("select max(sync_id) from ops.syncs")[0][0])


def sync_mode(pair: tuple[str, str]) -> str:
    """Return the declared sync mode of a stream."""
    source, table = pair
    return next(s["sync_mode"] for s in CONNECTIONS[source]["streams"] if s["name"] == table)


def rows_at_boundary(stack: Stack) -> dict[tuple[str, str], int]:
    """Count, per incremental stream, the source rows that share the greatest cursor value."""
    counts = {}
    for source, spec in CONNECTIONS.items():
        with stack.source(source) as database:
            for stream in spec["streams"]:
                if stream["sync_mode"].startswith("incremental"):
                    table, cursor = stream["name"], stream["cursor"]
                    query = (
                        f"select count(*) from {table} where {cursor} = (select max({cursor}) from {table})"
                    )
                    counts[source, table] = database.execute(query).fetchone()[0]
    return counts


def changed_rows(stack: Stack) -> set[tuple[tuple[str, str], str]]:
    """Return the rows that the simulator changed, each once, however often it was changed."""
    return {
        ((event["source"], event["table"]), json.dumps(event["key"], sort_keys=True))
        for event in events(stack)
        if event["operation"] in ("insert", "update")
    }


def set_email(crm: psycopg.Connection, customer: int, email: str) -> None:
    """Write a customer's e-mail address into the source."""
    crm.execute("update customer set c_email_address = %s where c_customer_sk = %s", [email, customer])


def keys_of_kind(stack: Stack, kind: str) -> list[tuple[tuple[str, str], dict[str, int]]]:
    """Return table and key of the rows that changed for a reason."""
    return [
        ((event["source"], event["table"]), event["key"])
        for event in events(stack)
        if event.get("kind") == kind and "table" in event
    ]


class Reader(threading.Thread):
    """Reads two marts in one statement, over and over, as an open dashboard would."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self._lake = stack.lake()
        self._ended = threading.Event()
        self.seen: list[tuple[object, ...]] = []

    def run(self) -> None:
        while not self._ended.is_set():
            self.seen += self._lake.execute(
                "select (select count(*) from marts.fct_sales),"
                " (select sum(orders) from marts.mart_executive_daily)"
            ).fetchall()

    def __enter__(self) -> Reader:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()
