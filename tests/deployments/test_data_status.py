"""What `floe status` says of the data: fresh or stale, loaded or refused, published or not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from file_stack import Cluster, FileStack, StoreProcess, handler_environment, new_stack, running_store

from blocks.ducklake_publisher import DuckLakePublisher
from blocks.settings import AirbyteSettings, Settings
from blocks.sync_log import last_good_syncs
from deployments.connection import ConnectionDeclaration
from deployments.data_status import Line, data_lines
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.connection_settings import REASON, declaration

NOW = datetime.now(UTC)
CRM = declaration(
    "crm",
    {"name": "customer", "sync_mode": "full_refresh_overwrite"},
    {**REASON, "fresh_within": "8d"},
    owner="sales",
    fresh_within="1d",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def stack(
    store: StoreProcess, cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> Iterator[FileStack]:
    """A bucket with its queues, and a lake in which nothing has happened yet."""
    made = new_stack(store, cluster, extension_directory, tmp_path)
    with handler_environment(made):
        made.drain()
        yield made


def said(stack: FileStack, *declarations: ConnectionDeclaration) -> dict[str, Line]:
    """Return the lines by what they are about."""
    settings = Settings(
        airbyte=AirbyteSettings(server_url="http://127.0.0.1:9", client_id="x", client_secret="x"),
        object_store=stack.store,
        warehouse=stack.warehouse,
    )
    return {line.subject: line for line in data_lines(settings, declarations, NOW)}


def synced(lake: duckdb.DuckDBPyConnection, stream: str, ago: timedelta) -> None:
    # Makes the table.
    last_good_syncs(lake)
    lake.execute(
        "insert into ops.syncs (sync_id, connection, stream, status, finished_at, namespace)"
        f" values (1, 'crm', '{stream}', 'succeeded', '{(NOW - ago).isoformat()}', 'public')"
    )


def test_a_new_warehouse_has_nothing_yet_and_says_what_to_do(stack: FileStack) -> None:
    lines = said(stack, CRM)
    assert lines["source crm"].state == "notice"
    assert lines["source crm"].words == (
        "never synced: customer, reason (owner sales). Next: floe run replicate/crm"
    )
    assert lines["marts"].words == "never published. Next: floe run transform/marts"
    assert lines["queue"].words == "0 waiting, 0 in work"


def test_a_source_is_as_fresh_as_its_stalest_stream(stack: FileStack) -> None:
    assert isinstance(stack.warehouse, DuckLakeSettings)
    with connect(stack.warehouse) as lake:
        synced(lake, "customer", timedelta(hours=3))
        synced(lake, "reason", timedelta(days=3))
        assert said(stack, CRM)["source crm"].words == "2 streams fresh, last synced 3 d ago or later"
        lake.execute("delete from ops.syncs where stream = 'customer'")
        synced(lake, "customer", timedelta(hours=50))
    line = said(stack, CRM)["source crm"]
    assert line.state == "bad"
    assert line.words == (
        "stale: customer was synced 2 d ago, declared 24h (owner sales). Next: floe run replicate/crm"
    )


def test_refused_files_dead_letters_and_published_marts_are_told(stack: FileStack) -> None:
    stack.contract("stock", "mode: append\ncolumns:\n  - {name: n, type: integer}\n")
    stack.put("landing/stock/good.csv", "n\n1\n")
    stack.put("landing/stock/bad.csv", "n\nx\n")
    stack.drain()
    stack.sqs.send_message(QueueUrl=stack.store.dead_letter_queue_url, MessageBody="{}")
    assert isinstance(stack.warehouse, DuckLakeSettings)
    with connect(stack.warehouse) as lake:
        lake.execute("create schema build; create table build.sales as select 1 as n")
        DuckLakePublisher(lake).publish("run", ["sales"])
    lines = said(stack)
    assert lines["files stock"].state == "bad"
    assert "1 loaded" in lines["files stock"].words and "1 quarantined" in lines["files stock"].words
    assert lines["files stock"].words.endswith("Next: floe files status stock")
    assert lines["dead letters"].words.startswith("1 of no declared dataset. Next: floe files status")
    assert lines["marts"] == Line("marts", "good", "1 published 0 s ago")


def test_a_server_that_does_not_answer_hides_nothing_about_the_others(
    stack: FileStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(stack.warehouse, DuckLakeSettings)
    away = stack.warehouse.model_copy(update={"port": 9})
    monkeypatch.setattr(stack, "warehouse", away)
    lines = said(stack, CRM)
    assert lines["warehouse"].state == "bad"
    assert lines["queue"].state == "good"
