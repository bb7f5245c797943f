"""Making a server hold the declared connections, twice, by adoption, and with a server that refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from blocks.airbyte import AirbyteServer
from blocks.errors import ConfigurationError
from blocks.settings import AirbyteSettings, ObjectStoreSettings, PostgresSource, Settings, load_settings
from deployments import provision
from deployments.commands.connections import app
from deployments.connection import ConnectionDeclaration
from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.settings import SnowflakeSettings
from tests.airbyte_service import CLIENT_ID, CLIENT_SECRET, StandIn, running
from tests.conftest import Cluster
from tests.scripted_server import Answer, scripted

SECRET = "the-source-password"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("airbyte")) as stand_in:
        yield stand_in


def declaration(source: str, *streams: dict[str, Any]) -> ConnectionDeclaration:
    return ConnectionDeclaration.model_validate(
        {
            "source": source,
            "owner": "somebody",
            "destination_schema": f"raw_{source}",
            "fresh_within": "26h",
            "streams": list(streams),
        }
    )


CUSTOMER = {
    "name": "customer",
    "sync_mode": "incremental_deduped_history",
    "cursor": "changed",
    "primary_key": ["id"],
}
REASON = {"name": "reason", "sync_mode": "full_refresh_overwrite"}


@pytest.fixture
def settings(
    stand_in: StandIn,
    cluster: Cluster,
    new_lake: Callable[[], DuckLakeSettings],
    request: pytest.FixtureRequest,
) -> Settings:
    """Settings of a workspace of this test's own, with two databases."""
    sources = {}
    for name in ("crm", "erp"):
        database = cluster.create_database(name)
        with cluster.connect(database) as source:
            source.execute("create table customer (id int primary key, changed int, note text)")
            source.execute("create table reason (id int primary key)")
        sources[name] = PostgresSource(
            host="127.0.0.1",
            port=cluster.port,
            database=database,
            user="floe",
            password=SecretStr(cluster.password),
        )
    return made(stand_in.url, sources, new_lake(), workspace=request.node.name)


def made(url: str, sources: dict[str, PostgresSource], warehouse: Any, workspace: str = "floe") -> Settings:
    return Settings(
        airbyte=AirbyteSettings(
            server_url=url, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), workspace=workspace
        ),
        sources=sources,
        object_store=ObjectStoreSettings(bucket="b", queue_url="q", dead_letter_queue_url="d"),
        warehouse=warehouse,
    )


def actions(changes: list[provision.Change]) -> list[tuple[str, str, str]]:
    return [(change.kind, change.name, change.action) for change in changes]


def test_apply_makes_everything_and_a_second_apply_changes_nothing(settings: Settings) -> None:
    server = provision.server_block(settings)
    declared = [declaration("crm", CUSTOMER, REASON), declaration("erp", REASON)]
    expected = [
        ("workspace", settings.airbyte.workspace),
        ("destination", "floe warehouse"),
        ("source", "crm"),
        ("connection", "crm"),
        ("source", "erp"),
        ("connection", "erp"),
    ]

    planned = provision.plan(declared, settings, server)
    first = provision.apply(declared, settings, server)
    second = provision.apply(declared, settings, server)

    assert actions(planned) == [(*name, "create") for name in expected]
    assert actions(first.changes) == actions(planned)
    assert actions(second.changes) == [(*name, "none") for name in expected]
    assert provision.plan(declared, settings, server) == second.changes
    assert first.connection_ids == second.connection_ids
    assert sorted(first.connection_ids) == ["crm", "erp"]
    made_there = server.get_client().connection(first.connection_ids["crm"])
    assert made_there["namespaceFormat"] == "raw_crm"
    assert [s["syncMode"] for s in made_there["configurations"]["streams"]] == [
        "incremental_deduped_history",
        "full_refresh_overwrite",
    ]


def test_a_difference_is_shown_without_secrets_and_mended(settings: Settings) -> None:
    server = provision.server_block(settings)
    provision.apply([declaration("crm", CUSTOMER)], settings, server)
    settings.sources["crm"].user = "somebody_else"
    declared = [declaration("crm", {**CUSTOMER, "cursor": "id"}, REASON)]

    changes = {change.kind: change for change in provision.plan(declared, settings, server)}

    assert changes["source"].details == ("username: floe → somebody_else",)
    assert changes["connection"].details == (
        "stream public.reason: added",
        "stream public.customer.cursorField: ['changed'] → ['id']",
    )
    settings.sources["crm"].user = "floe"
    applied = provision.apply(declared, settings, server)
    assert actions(applied.changes)[-1] == ("connection", "crm", "update")
    assert all(change.action == "none" for change in provision.plan(declared, settings, server))


def test_what_is_not_declared_is_left_alone(settings: Settings) -> None:
    server = provision.server_block(settings)
    both = provision.apply(
        [declaration("crm", CUSTOMER, REASON), declaration("erp", REASON)], settings, server
    )

    narrower = [declaration("crm", {**CUSTOMER, "cursor": "id"})]
    provision.apply(narrower, settings, server)

    client = server.get_client()
    assert client.connection(both.connection_ids["erp"])["name"] == "erp"
    streams = client.connection(both.connection_ids["crm"])["configurations"]["streams"]
    assert [stream["name"] for stream in streams] == ["customer", "reason"]
    assert all(change.action == "none" for change in provision.plan(narrower, settings, server))


def test_passwords_are_sent_again_only_when_asked(settings: Settings) -> None:
    server, declared = provision.server_block(settings), [declaration("crm", REASON)]
    provision.apply(declared, settings, server)
    good, settings.sources["crm"].password = settings.sources["crm"].password, SecretStr(SECRET)
    assert all(change.action == "none" for change in provision.apply(declared, settings, server).changes)

    changed = provision.apply(declared, settings, server, resend_secrets=True).changes

    assert [change.details for change in changed if change.kind == "source"] == [("secrets: sent again",)]
    client = server.get_client()
    source = next(
        item for item in client.request("GET", "/sources", limit=100)["data"] if item["name"] == "crm"
    )
    assert source["configuration"]["password"] == "**********"
    assert SECRET not in str(changed)
    settings.sources["crm"].password = good


def test_a_source_without_settings_is_named(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="hr is declared, but its database has no settings"):
        provision.plan([declaration("hr", REASON)], settings, provision.server_block(settings))


def test_the_blocks_are_named_after_their_sources(settings: Settings) -> None:
    declared = [declaration("crm", REASON)]
    blocks = provision.connection_blocks(declared, settings, {"crm": "some-id"})
    assert blocks["crm"].model_dump(include={"connection_id", "name", "destination_schema"}) == {
        "connection_id": "some-id",
        "name": "crm",
        "destination_schema": "raw_crm",
    }


@pytest.mark.parametrize(
    "honours", [True, False], ids=["a server that honours it", "an older one that drops it"]
)
def test_decimals_on_snowflake_are_set_and_verified(tmp_path: Path, honours: bool) -> None:
    warehouse = SnowflakeSettings(
        account="org-acc",
        user="AIRBYTE",
        private_key=SecretStr("-----BEGIN PRIVATE KEY-----"),
        role="LOADER",
        warehouse="WH",
        database="FLOE",
    )
    kept = {
        "host": "org-acc.snowflakecomputing.com",
        "role": "LOADER",
        "warehouse": "WH",
        "database": "FLOE",
        "schema": "PUBLIC",
        "username": "AIRBYTE",
        "credentials": {"auth_type": "Key Pair Authentication", "private_key": "**********"},
        **({"number_data_type": "NUMBER(38,9)"} if honours else {}),
    }
    public = "/api/public/v1"
    listing = Answer(body={"data": []})
    script = {
        f"GET {public}/workspaces": [Answer(body={"data": [{"name": "floe", "workspaceId": "w"}]})],
        f"GET {public}/destinations": [listing],
        f"POST {public}/destinations": [Answer(body={"destinationId": "d", "configuration": kept})],
    }
    with scripted(script) as server:
        server_block = AirbyteServer(server_url=server.url, token="t")
        settings = made(server.url, {}, warehouse)
        if honours:
            changes = provision.apply([], settings, server_block).changes
            assert actions(changes)[-1] == ("destination", "floe warehouse", "create")
        else:
            with pytest.raises(
                ConfigurationError, match=r"does not honour .* number_data_type: None → NUMBER"
            ):
                provision.apply([], settings, server_block)
        sent = next(body for call, body in server.bodies if call == f"POST {public}/destinations")
    assert b'"number_data_type":"NUMBER(38,9)"' in sent.replace(b": ", b":")


def test_floe_connections_plan_prints_what_apply_would_do(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOE_HOME", str(tmp_path))
    values = {
        "FLOE_AIRBYTE__SERVER_URL": stand_in.url,
        "FLOE_AIRBYTE__CLIENT_ID": CLIENT_ID,
        "FLOE_AIRBYTE__CLIENT_SECRET": CLIENT_SECRET,
        "FLOE_AIRBYTE__WORKSPACE": "planned",
        "FLOE_OBJECT_STORE__BUCKET": "b",
        "FLOE_OBJECT_STORE__QUEUE_URL": "q",
        "FLOE_OBJECT_STORE__DEAD_LETTER_QUEUE_URL": "d",
        "FLOE_WAREHOUSE__TYPE": "ducklake",
        "FLOE_WAREHOUSE__PORT": "1",
        "FLOE_WAREHOUSE__PASSFILE": str(tmp_path / "passfile"),
        "FLOE_WAREHOUSE__DATA_PATH": str(tmp_path / "lake"),
        "FLOE_WAREHOUSE__EXTENSION_DIRECTORY": str(tmp_path),
    }
    for source in ("CRM", "ERP", "ACCOUNTING"):
        for name, value in {"HOST": "h", "DATABASE": "d", "USER": "u", "PASSWORD": SECRET}.items():
            values[f"FLOE_SOURCES__{source}__{name}"] = value
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    try:
        result = CliRunner().invoke(app, ["plan"], catch_exceptions=False)
    finally:
        load_settings.cache_clear()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "+ workspace planned",
        "+ destination floe warehouse",
        "+ source accounting",
        "+ connection accounting",
        "+ source crm",
        "+ connection crm",
        "+ source erp",
        "+ connection erp",
        "8 to change",
    ]
