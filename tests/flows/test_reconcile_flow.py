"""The flow `reconcile` under a real Prefect server, over a real source and a real lake."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from blocks.errors import ConfigurationError, ServiceUnavailable
from blocks.open_sides import OpenSides
from blocks.reconcile import reconcile_stream
from blocks.reconcile_plan import PlannedStream, ReconcilePlan
from blocks.repair_policy import RepairPolicy
from blocks.source_database import SourceDatabase
from blocks.warehouse import Warehouse
from flows.reconcile import NO_WINDOW, StreamsDiffer, reconcile
from tests.airbyte_engine import RAW, Engine, open_engine
from tests.conftest import Cluster
from tests.flaky_port import FlakyPort, flaky_port
from tests.step_runs import tries


@pytest.fixture(scope="module")
def shop(
    prefect_server: None,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Engine]:
    """The blocks of a source `my_shop` whose table `orders` was synced, and `broken` never."""
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("shop")) as engine:
        engine.source.execute("create table orders (id int primary key, seen int)")
        engine.source.execute("insert into orders select i, i * 10 from generate_series(1, 9) i")
        engine.source.execute("create table broken (id int primary key, seen int)")
        engine.sync("orders", cursor="seen", key=["id"])
        source_at(engine, engine.address.port)
        Warehouse(target=engine.destination).save("warehouse", overwrite=True)
        yield engine


def source_at(engine: Engine, port: int) -> None:
    """Save the block of the source, to be reached at a port."""
    SourceDatabase(
        host=engine.address.host,
        port=port,
        database=engine.address.database,
        user=engine.address.username,
        password=engine.address.password,
        # One connection per try, not a second one without encryption.
        ssl_mode="disable",
    ).save("my-shop-source", overwrite=True)


@pytest.fixture
def flaky_source(shop: Engine) -> Iterator[FlakyPort]:
    """The source, behind a port that hangs up when told to."""
    with flaky_port(shop.address.port) as flaky:
        source_at(shop, flaky.port)
        yield flaky
    source_at(shop, shop.address.port)


def planned(name: str, key: list[str], **policy: Any) -> PlannedStream:
    return PlannedStream(
        namespace="public",
        name=name,
        raw_schema=RAW,
        raw_table=name,
        sync_mode="incremental_deduped_history",
        primary_key=key,
        cursor="seen",
        policy=RepairPolicy(**policy),
    )


def plan(*streams: PlannedStream) -> None:
    """Save what of `my_shop` is reconciled."""
    ReconcilePlan(source="my_shop", streams=list(streams)).save("my-shop-reconcile", overwrite=True)


def table() -> list[dict[str, Any]]:
    """Return the newest table of the source as the server has it."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["reconcile-my-shop"]))
        )
    rows = json.loads(max(found, key=lambda each: str(each.created)).data)
    return [{name: value for name, value in row.items() if value not in (0, None, "")} for row in rows]


def test_reconcile_repairs_and_shows_counts_and_leaves_out_what_was_compared_lately(shop: Engine) -> None:
    plan(planned("orders", ["id"], compare_every="P1D"), planned("logs", []))
    shop.source.execute("insert into orders values (10, 5)")
    shop.source.execute("delete from orders where id = 1")

    first = reconcile("my_shop", only_when_due=True)
    assert [(s.missing, s.deleted, s.repaired) for s in first.streams] == [(1, 1, 2)]
    assert table() == [
        {"stream": "public.orders", "rows": 9, "missing": 1, "deleted": 1, "repaired": 2},
        {"stream": "public.logs", "note": "not compared: no primary key is declared"},
    ]

    second = reconcile("my_shop", only_when_due=True)
    assert second.left_out == {
        "public.logs": "no primary key is declared",
        "public.orders": "compared not long ago",
    }
    by_hand = reconcile("my_shop")
    assert [(s.stream, s.missing, s.repaired) for s in by_hand.streams] == [("public.orders", 0, 0)]


def test_a_run_may_be_of_some_streams() -> None:
    orders, logs = planned("orders", ["id"]), planned("logs", ["id"])
    declared = ReconcilePlan(source="my_shop", streams=[orders, logs])
    assert declared.chosen(None) == [orders, logs]
    assert declared.chosen(["public.orders"]) == [orders]
    assert declared.chosen(["logs"]) == [logs]
    with pytest.raises(
        ConfigurationError, match=r"my_shop has no stream 'order': public\.orders, public\.logs"
    ):
        declared.chosen(["order", "logs"])


@pytest.mark.thorough
def test_a_run_with_a_window_of_its_own_says_which_streams_have_none(shop: Engine) -> None:
    plan(planned("orders", ["id"]), planned("visits", ["id"], compare_every="P1D"))
    shop.source.execute("create table visits (id int primary key, seen date)")
    shop.source.execute("insert into visits select i, date '2020-01-01' + i from generate_series(1, 9) i")
    shop.sync("visits", cursor="seen", key=["id"])
    result = reconcile("my_shop", window_days=2)
    assert [(stream.stream, stream.source_rows) for stream in result.streams] == [
        ("public.orders", shop.source.execute("select count(*) from orders").fetchall()[0][0]),
        ("public.visits", 3),
    ]
    assert [row["note"] for row in table()] == [NO_WINDOW, "compared within 2 days"]
    due = reconcile("my_shop", only_when_due=True)
    assert [(stream.stream, stream.source_rows) for stream in due.streams][1:] == [("public.visits", 9)]


def test_a_stream_that_fails_fails_the_run_after_the_others_are_reconciled(shop: Engine) -> None:
    plan(
        planned("broken", ["id"]),
        planned("orders", ["id"], differences="fail"),
        planned("orders", ["id"]).model_copy(update={"namespace": "elsewhere"}),
    )
    shop.source.execute("insert into orders values (11, 5)")
    with pytest.raises(StreamsDiffer) as raised:
        reconcile("my_shop")
    assert raised.value.what == (
        "my_shop: 3 of 3 streams are not reconciled: "
        "my_shop: public.broken was never synced: there is no table raw_test.broken; "
        "my_shop: public.orders differs from its source: 1 missing: (id=11); "
        "elsewhere.orders: there is no such table in the source"
    )
    assert [row for row in table() if row["stream"] == "public.orders"] == [
        {"stream": "public.orders", "rows": 10, "missing": 1}
    ]

    plan(planned("broken", ["id"]), planned("orders", ["id"]))
    with pytest.raises(StreamsDiffer, match="1 of 2 streams are not reconciled"):
        reconcile("my_shop")
    assert {row["stream"]: row.get("repaired") for row in table()} == {
        "public.orders": 1,
        "public.broken": None,
    }


def test_a_source_that_is_down_for_a_moment_is_reconciled_in_the_same_run(
    shop: Engine, flaky_source: FlakyPort
) -> None:
    plan(planned("orders", ["id"]))
    shop.source.execute("insert into orders values (20, 5)")
    flaky_source.hang_ups[b""] = 2
    ended = reconcile("my_shop", first_pause_seconds=0.01, return_state=True)
    assert [stream.missing for stream in ended.result().streams] == [1]
    assert tries(ended, "reconcile public.orders") == {"reconcile public.orders": 3}


@pytest.mark.thorough
def test_a_source_that_stays_down_ends_the_run_and_a_permanent_error_is_tried_once(
    shop: Engine, flaky_source: FlakyPort
) -> None:
    plan(planned("broken", ["id"]), planned("orders", ["id"]))
    ended = reconcile("my_shop", first_pause_seconds=0.01, return_state=True)
    assert isinstance(ended.result(raise_on_failure=False), StreamsDiffer)
    assert tries(ended, "reconcile public.broken", "reconcile public.orders") == {
        "reconcile public.broken": 1,
        "reconcile public.orders": 1,
    }

    flaky_source.hang_ups[b""] = 99
    ended = reconcile("my_shop", first_pause_seconds=0.01, return_state=True)
    assert isinstance(ended.result(raise_on_failure=False), ServiceUnavailable)
    assert tries(ended, "reconcile public.broken") == {"reconcile public.broken": 4}


@pytest.mark.thorough
def test_a_connection_that_broke_is_replaced_for_the_next_try(shop: Engine) -> None:
    source = cast(SourceDatabase, SourceDatabase.load("my-shop-source"))
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    with OpenSides("my_shop", source, warehouse) as sides:
        with pytest.raises(ServiceUnavailable), sides.lent() as lent:
            shop.source.execute("select pg_terminate_backend(%s)", [lent.source.info.backend_pid])
            reconcile_stream(lent, planned("orders", ["id"]))
        with sides.lent() as lent:
            assert reconcile_stream(lent, planned("orders", ["id"])).stream == "public.orders"
