"""Making a server hold the declared connections, twice, by adoption, and with a server that refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_errors import AirbyteRequestRefused
from blocks.errors import ConfigurationError
from blocks.reconcile_plan import ReconcilePlan
from blocks.settings import PostgresSource, Settings
from blocks.source_database import SourceDatabase
from deployments import provision
from deployments.connection_blocks import connection_block
from deployments.connection_documents import Document, destination_document, source_document
from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.settings import SnowflakeSettings
from tests.airbyte_service import StandIn, running
from tests.conftest import Cluster
from tests.connection_settings import CUSTOMER, REASON, SECRET, declaration, made
from tests.scripted_server import Answer, scripted


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running(tmp_path_factory.mktemp("airbyte")) as stand_in:
        yield stand_in


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
        "stream public.customer.cursorField: ['changed'] → ['id']",
        "stream public.reason: added",
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
    assert list(blocks) == ["crm", "crm-source", "crm-reconcile"]
    crm, database, plan = blocks.values()
    assert isinstance(crm, AirbyteConnection) and isinstance(database, SourceDatabase)
    assert isinstance(plan, ReconcilePlan)
    assert (crm.connection_id, crm.name, crm.destination_schema) == ("some-id", "crm", "raw_crm")
    assert (database.database, database.ssl_mode) == (settings.sources["crm"].database, "prefer")
    (stream,) = plan.streams
    assert (stream.full_name, stream.raw_schema, stream.raw_table) == ("public.reason", "raw_crm", "reason")


def test_a_block_has_what_its_declaration_says() -> None:
    declared = declaration(
        "crm",
        CUSTOMER,
        {**REASON, "namespace": "hr", "fresh_within": "8d", "owner": "personnel"},
        destination_schema="raw_${SOURCE_NAMESPACE}",
        table_prefix="crm_",
        schemas=["public", "hr"],
        schema_changes={"columns": "fail"},
        **{"deadline": "2h", "stall": "10m", "poll": "15s"},
    )
    server = AirbyteServer(server_url="http://127.0.0.1:1", token="t")
    block = connection_block(declared, server, "some-id")
    assert (block.deadline_seconds, block.stall_seconds, block.poll_seconds) == (7200, 600, 15)
    assert (block.schema_changes.columns, block.schema_changes.key_and_cursor) == ("fail", "fail")
    assert [
        (s.full_name, s.raw_schema, s.raw_table, s.cursor, s.primary_key, s.fresh_within_seconds, s.owner)
        for s in block.streams
    ] == [
        ("public.customer", "raw_public", "crm_customer", "changed", ("id",), 26 * 3600.0, "somebody"),
        ("hr.reason", "raw_hr", "crm_reason", None, (), 8 * 86400.0, "personnel"),
    ]


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
        f"DELETE {public}/destinations/d": [Answer(body={})],
        f"GET {public}/sources": [listing],
        f"GET {public}/connections": [listing],
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
        # A destination that would turn decimals into floats is not left behind.
        assert server.times(f"DELETE {public}/destinations/d") == (0 if honours else 1)
        sent = next(body for call, body in server.bodies if call == f"POST {public}/destinations")
    assert b'"number_data_type":"NUMBER(38,9)"' in sent.replace(b": ", b":")


def by_hand(settings: Settings, server: AirbyteServer, **connection: Any) -> dict[str, str]:
    """Make a source, a destination and a connection as a person would; return their ids."""
    client = server.get_client()
    workspace = client.request("POST", "/workspaces", {"name": settings.airbyte.workspace})["workspaceId"]

    def actor(kind: str, name: str, configuration: Document) -> str:
        body = {"name": name, "workspaceId": workspace, "configuration": configuration}
        return str(client.request("POST", f"/{kind}s", body)[f"{kind}Id"])

    source = actor("source", "Our CRM", source_document(settings.sources["crm"], declaration("crm", REASON)))
    destination = actor("destination", "The lake", destination_document(settings.warehouse))
    body = {"name": "crm", "sourceId": source, "destinationId": destination, **connection}
    made_there = client.request("POST", "/connections", body)
    return {"source": source, "destination": destination, "connection": made_there["connectionId"]}


def names(server: AirbyteServer, kind: str, settings: Settings) -> list[str]:
    client = server.get_client()
    (workspace,) = [
        w["workspaceId"] for w in client.pages("/workspaces") if w["name"] == settings.airbyte.workspace
    ]
    return sorted(item["name"] for item in client.pages(f"/{kind}s", workspaceIds=workspace))


def test_a_connection_made_by_hand_is_adopted_with_its_source_and_destination(settings: Settings) -> None:
    server = provision.server_block(settings)
    ids = by_hand(settings, server, configurations={"streams": [{"name": "reason"}]})
    declared = [declaration("crm", CUSTOMER, REASON)]

    planned = provision.plan(declared, settings, server)
    done = provision.apply(declared, settings, server)

    assert actions(planned)[1:] == [
        ("destination", "The lake", "none"),
        ("source", "Our CRM", "none"),
        ("connection", "crm", "update"),
    ]
    assert done.connection_ids == {"crm": ids["connection"]}
    assert (names(server, "source", settings), names(server, "destination", settings)) == (
        ["Our CRM"],
        ["The lake"],
    )
    connection = server.get_client().connection(ids["connection"])
    assert (connection["namespaceFormat"], len(connection["configurations"]["streams"])) == ("raw_crm", 2)
    assert all(change.action == "none" for change in provision.plan(declared, settings, server))


def test_a_connection_of_another_kind_of_source_is_not_adopted(settings: Settings) -> None:
    public = "/api/public/v1"
    found = {"name": "crm", "connectionId": "c", "sourceId": "s", "destinationId": "d"}
    lake = {"destinationType": "ducklake", "configuration": destination_document(settings.warehouse)}
    script = {
        f"GET {public}/workspaces": [Answer(body={"data": [{"name": "floe", "workspaceId": "w"}]})],
        f"GET {public}/connections": [Answer(body={"data": [found]})],
        f"GET {public}/destinations/d": [Answer(body={"destinationId": "d", "name": "lake", **lake})],
        f"GET {public}/sources/s": [Answer(body={"sourceId": "s", "name": "My CRM", "sourceType": "mysql"})],
    }
    with scripted(script) as server, pytest.raises(ConfigurationError, match="My CRM is mysql, not postgres"):
        provision.apply(
            [declaration("crm", REASON)],
            made(server.url, settings.sources, settings.warehouse),
            AirbyteServer(server_url=server.url, token="t"),
        )
    assert not any(call.startswith(("POST", "PATCH")) for call in server.asked)


def test_a_refused_connection_leaves_no_source_behind(settings: Settings) -> None:
    server = provision.server_block(settings)
    with pytest.raises(AirbyteRequestRefused, match="nowhere was not found"):
        provision.apply([declaration("crm", {**REASON, "name": "nowhere"})], settings, server)
    assert names(server, "source", settings) == []


def test_what_is_not_declared_is_deleted_only_with_prune(settings: Settings) -> None:
    server = provision.server_block(settings)
    declared = [declaration("crm", CUSTOMER, REASON), declaration("erp", REASON)]
    both = provision.apply(declared, settings, server)
    (narrower,) = [declaration("crm", CUSTOMER)]

    left = provision.plan([narrower], settings, server)
    provision.apply([narrower], settings, server)
    assert [(c.kind, c.name, c.action, c.note.split(";")[0]) for c in left[4:]] == [
        ("stream", "crm reason", "none", "not declared, left alone"),
        ("connection", "erp", "none", "not declared, left alone"),
        ("source", "erp", "none", "not declared, left alone"),
    ]
    assert names(server, "source", settings) == ["crm", "erp"]

    planned = provision.plan([narrower], settings, server, prune=True)
    assert actions(planned)[3:] == [
        ("connection", "crm", "update"),
        ("connection", "erp", "delete"),
        ("source", "erp", "delete"),
    ]
    assert planned[3].details == ("stream reason: removed",)
    assert names(server, "connection", settings) == ["crm", "erp"]

    assert provision.apply([narrower], settings, server, prune=True).changes == planned
    assert [names(server, kind, settings) for kind in ("connection", "source", "destination")] == [
        ["crm"],
        ["crm"],
        ["floe warehouse"],
    ]
    streams = server.get_client().connection(both.connection_ids["crm"])["configurations"]["streams"]
    assert [stream["name"] for stream in streams] == ["customer"]


def test_columns_that_are_selected_no_more_are_seen(settings: Settings) -> None:
    server = provision.server_block(settings)
    chosen = {**CUSTOMER, "columns": ["id", "changed"]}
    provision.apply([declaration("crm", chosen)], settings, server)
    turned = {**CUSTOMER, "columns": ["changed", "id"]}
    assert {c.action for c in provision.plan([declaration("crm", turned)], settings, server)} == {"none"}

    everything = [declaration("crm", CUSTOMER)]
    (change,) = [c for c in provision.plan(everything, settings, server) if c.action != "none"]
    assert change.details[0].startswith("stream public.customer.selectedFields: [{'fieldPath': ['id']}")
    provision.apply(everything, settings, server)
    assert {c.action for c in provision.plan(everything, settings, server)} == {"none"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"replication": "xmin"}, "Xmin cannot be had from this stand-in"),
        (
            {"replication": "cdc", "cdc": {"replication_slot": "s", "publication": "p"}},
            "CDC cannot be had from this stand-in",
        ),
    ],
    ids=["xmin", "cdc"],
)
def test_a_way_to_find_changes_that_the_server_lacks_is_refused(
    settings: Settings, fields: dict[str, Any], words: str
) -> None:
    server = provision.server_block(settings)
    declared = declaration("crm", {**CUSTOMER, "cursor": None}, **fields)
    with pytest.raises(AirbyteRequestRefused, match=words):
        provision.apply([declared], settings, server)
    assert names(server, "connection", settings) == []


def test_the_lists_of_the_server_are_read_as_often_for_many_connections_as_for_one(
    settings: Settings,
) -> None:
    public = "/api/public/v1"
    names = ["crm", "erp"]

    def lists_read(count: int) -> dict[str, int]:
        script = {
            f"GET {public}/workspaces": [Answer(body={"data": [{"name": "floe", "workspaceId": "w"}]})],
            **{
                f"GET {public}/{kind}s": [Answer(body={"data": []})]
                for kind in ("connection", "source", "destination")
            },
        }
        with scripted(script) as server:
            declared = [declaration(name, REASON) for name in names[:count]]
            sources = dict.fromkeys(names, settings.sources["crm"])
            planned = provision.plan(
                declared,
                made(server.url, sources, settings.warehouse),
                AirbyteServer(server_url=server.url, token="t"),
            )
            assert sum(change.kind == "connection" for change in planned) == count
            return {call: server.times(call) for call in script}

    assert lists_read(2) == lists_read(1)
