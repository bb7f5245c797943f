"""`floe connections plan`, `apply` and `check`, as a person runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from blocks.airbyte import AirbyteConnection
from blocks.settings import load_settings
from blocks.source_database import SourceDatabase
from deployments import provision
from deployments.commands.connections import app
from deployments.connection import load_declarations
from deployments.local.sample import company
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.airbyte_service import CLIENT_ID, CLIENT_SECRET, StandIn, running
from tests.conftest import Cluster
from tests.postgres_server import free_port

SOURCES = ("accounting", "crm", "erp")
SCHEMA = Path(company.__file__).parent / "schema"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("airbyte")) as stand_in:
        yield stand_in


@pytest.fixture
def databases(cluster: Cluster) -> dict[str, str]:
    """The sample's databases with all their tables and keys, and not a row."""
    made = {source: cluster.create_database(source) for source in SOURCES}
    for source, database in made.items():
        with cluster.connect(database) as connection:
            for script in ("business_clock.sql", f"{source}.sql", f"{source}_constraints.sql"):
                connection.execute((SCHEMA / script).read_bytes())
    return made


@pytest.fixture
def floe(
    stand_in: StandIn,
    cluster: Cluster,
    databases: dict[str, str],
    new_lake: Callable[[], DuckLakeSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[..., tuple[int, list[str]]]]:
    """Run a command of `floe connections` with a workspace, databases and a lake of this test's own."""
    lake = new_lake()
    variables = {
        "HOME": tmp_path,
        "AIRBYTE__SERVER_URL": stand_in.url,
        "AIRBYTE__CLIENT_ID": CLIENT_ID,
        "AIRBYTE__CLIENT_SECRET": CLIENT_SECRET,
        "AIRBYTE__WORKSPACE": request.node.name,
        "OBJECT_STORE__BUCKET": "b",
        "OBJECT_STORE__QUEUE_URL": "q",
        "OBJECT_STORE__DEAD_LETTER_QUEUE_URL": "d",
        "WAREHOUSE__TYPE": "ducklake",
        **{f"WAREHOUSE__{name.upper()}": value for name, value in lake.model_dump(exclude={"type"}).items()},
    }
    for source, database in databases.items():
        address = {"HOST": "127.0.0.1", "PORT": cluster.port, "DATABASE": database, "USER": "floe"}
        for name, value in {**address, "PASSWORD": cluster.password}.items():
            variables[f"SOURCES__{source.upper()}__{name}"] = value
    for name, value in variables.items():
        monkeypatch.setenv(f"FLOE_{name}", str(value))

    def run(*words: str, **changed: Any) -> tuple[int, list[str]]:
        for name, value in changed.items():
            monkeypatch.setenv(f"FLOE_{name}", str(value))
        load_settings.cache_clear()
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        assert cluster.password not in result.output
        return result.exit_code, result.stdout.splitlines()

    yield run
    load_settings.cache_clear()


OWNERS = {"accounting": "finance", "crm": "customer care", "erp": "operations"}


def test_plan_and_apply_say_what_they_do_and_apply_saves_the_blocks(
    prefect_server: None, floe: Callable[..., tuple[int, list[str]]], request: pytest.FixtureRequest
) -> None:
    made = [f"+ workspace {request.node.name}", "+ destination floe warehouse"]
    for source, owner in OWNERS.items():
        made += [f"+ source {source}", f"+ connection {source} ({owner}, fresh within 26h)"]

    assert floe("plan") == (0, [*made, "8 to change"])
    code, lines = floe("apply")
    assert (code, lines[:9]) == (0, [*made, "8 to change"])
    assert sorted(line.removesuffix(": created").removesuffix(": updated") for line in lines[9:]) == sorted(
        f"block {name}" for source in SOURCES for name in (source, f"{source}-reconcile", f"{source}-source")
    )
    crm = AirbyteConnection.load("crm")
    assert isinstance(crm, AirbyteConnection)
    assert (len(crm.streams), crm.streams[0].raw_schema, crm.streams[0].owner) == (
        5,
        "raw_crm",
        "customer care",
    )
    source = SourceDatabase.load("crm-source")
    assert isinstance(source, SourceDatabase)
    with source.connect() as database:
        assert database.execute("select count(*) from customer").fetchone() == (0,)
    again = floe("apply")[1]
    assert again[8] == "Everything is as declared"
    assert {line.rpartition(" ")[2] for line in again[9:]} == {"unchanged"}


def test_check_says_what_is_well_and_ends_with_1_where_something_is_not(
    floe: Callable[..., tuple[int, list[str]]],
    cluster: Cluster,
    databases: dict[str, str],
    stand_in: StandIn,
) -> None:
    code, lines = floe("check")
    assert code == 1
    assert "✗ connection crm: to create. Next: floe connections apply" in lines
    settings = load_settings()
    provision.apply(load_declarations(), settings, provision.server_block(settings))

    code, lines = floe("check", "--accept")
    assert code == 0
    assert lines[0] == f"✓ Airbyte at {stand_in.url}: answers and takes our credentials"
    assert "! crm as Airbyte reaches it: this server does not offer a check of its sources" in lines
    assert f"✓ crm on 127.0.0.1:{cluster.port}: 5 streams, their keys and cursors are there" in lines
    assert "! crm: has never been synced" in lines
    assert lines[-1] == "Everything is well"

    with cluster.connect(databases["crm"]) as source:
        source.execute("alter table customer drop constraint customer_pkey")
        source.execute("alter table customer rename column c_first_name to c_given_name")
    code, lines = floe("check")
    assert (code, lines[-1]) == (1, "1 wrong")
    assert "! public.customer: column c_first_name is now called c_given_name" in lines
    assert any(line.startswith("✗ public.customer: no valid unique index") for line in lines)

    code, lines = floe("check", "--accept")
    assert code == 1
    assert "! public.customer: column c_first_name is now called c_given_name: accepted" in lines


def test_check_names_each_thing_that_does_not_answer(
    floe: Callable[..., tuple[int, list[str]]],
) -> None:
    gone = free_port()
    code, lines = floe(
        "check",
        AIRBYTE__SERVER_URL=f"http://127.0.0.1:{gone}",
        WAREHOUSE__PORT=gone,
        SOURCES__ERP__PORT=gone,
    )
    assert code == 1
    bad = [line for line in lines if line.startswith("✗")]
    assert bad[0] == f"✗ Airbyte at http://127.0.0.1:{gone}: does not say that it is well. Next: floe status"
    assert bad[1].startswith("✗ warehouse: ")
    assert bad[2].startswith(f"✗ erp on 127.0.0.1:{gone}: ")
    assert lines[-1] == "3 wrong"


def test_check_finds_wrong_credentials_and_stale_tables(
    floe: Callable[..., tuple[int, list[str]]], new_lake: Callable[[], DuckLakeSettings]
) -> None:
    lake = new_lake()
    with connect(lake) as database:
        database.execute("create schema ops")
        database.execute(
            "create table ops.syncs as select 1::bigint as sync_id, 'crm' as connection, "
            "'customer' as stream, 'succeeded' as status, now() - interval 30 hours as started_at, "
            "now() - interval 30 hours as finished_at, null::bigint as rows_read, "
            "null::bigint as rows_written, null::bigint as bytes, null::timestamptz as emitted_at"
        )
    code, lines = floe(
        "check",
        AIRBYTE__CLIENT_SECRET="not-it",
        WAREHOUSE__DATABASE=lake.database,
        WAREHOUSE__DATA_PATH=lake.data_path,
    )
    assert code == 1
    assert any("the token request with 401" in line for line in lines if line.startswith("✗ Airbyte at"))
    assert (
        "✗ crm public.customer: last good sync 30.0 h ago, declared 26h; owner: customer care. "
        "Next: floe run replicate/crm"
    ) in lines
