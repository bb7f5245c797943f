"""What was discovered is what is replicated: the nasty database through the stand-in, and the sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from pydantic import SecretStr

from blocks.postgres_catalog import SourceTable, read_tables
from blocks.settings import AirbyteSettings, ObjectStoreSettings, PostgresSource, Settings
from deployments import provision
from deployments.connection import StreamDeclaration, load_declaration, load_declarations
from deployments.discover import discover, write
from deployments.discovery.address import Address
from lambda_csv_loader.ducklake import DuckLakeSettings, connect, sql_name
from tests.airbyte_service import CLIENT_ID, CLIENT_SECRET, running
from tests.conftest import Cluster
from tests.deployments.local.sample_databases import generated

pytestmark = pytest.mark.thorough

Row = tuple[Any, ...]


def address(cluster: Cluster, database: str) -> Address:
    return Address.parse(f"postgresql://floe:{cluster.password}@127.0.0.1:{cluster.port}/{database}")


def test_the_rows_of_every_discovered_stream_arrive(
    cluster: Cluster, new_lake: Callable[[], DuckLakeSettings], tmp_path: Path
) -> None:
    database, lake = cluster.create_database("nasty"), new_lake()
    with cluster.connect(database) as source:
        source.execute((Path(__file__).with_name("nasty_database.sql")).read_bytes())
    write(discover(address(cluster, database), name="nasty"), tmp_path / "nasty.yaml")
    (declaration,) = load_declarations(tmp_path)
    # Each stream takes its time, and these show nothing that others do not.
    declared = [one for one in declaration.streams if one.name not in ALIKE]
    declaration = declaration.model_copy(update={"streams": declared})
    with running(tmp_path / "airbyte") as stand_in, cluster.connect(database) as source:
        settings = Settings(
            airbyte=AirbyteSettings(
                server_url=stand_in.url, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET)
            ),
            sources={
                "nasty": PostgresSource(
                    host="127.0.0.1",
                    port=cluster.port,
                    database=database,
                    user="floe",
                    password=SecretStr(cluster.password),
                )
            },
            object_store=ObjectStoreSettings(bucket="b", queue_url="q", dead_letter_queue_url="d"),
            warehouse=lake,
        )
        server = provision.server_block(settings)
        done = provision.apply([declaration], settings, server)
        block = provision.connection_blocks([declaration], settings, done.connection_ids)["nasty"]
        block.poll_seconds = 0.1

        assert provision.apply([declaration], settings, server).changes[-1].action == "none"
        for change in ("", CHANGES):
            source.execute(change.encode())
            sync = block.trigger()
            sync.wait_for_completion()
            assert sync.fetch_result().attempts == 1
            tables = read_tables(
                lambda sql: [row[0] for row in source.execute(sql.encode())], declaration.schemas
            )
            with connect(lake, read_only=True) as replicated:
                for stream in declaration.streams:
                    table = tables[stream.namespace, stream.name]
                    place = sql_name("lake", declaration.target_schema(stream), stream.name)
                    assert rows_of(replicated, place, table, stream) == rows_of(
                        source, None, table, stream
                    ), stream


ALIKE = (
    *(
        "by_argument",
        "computed",
        "counted",
        "daily",
        "disabled_trigger",
        "dog",
        "epochs",
        "kept",
        "late_filled",
    ),
    *("local_time", "no_cursor_types", "not_quite", "only_created", "other_times", "replica", "salaries"),
    *("secret", "tenants", "ticket", "unique_only", "versioned"),
    "A_NAME_OF_EXACTLY_SIXTY_THREE_BYTES_THAT_IS_AS_LONG_AS_ONE_CAN_",
)

# One change that each kind of stream must see: through the cursor, or because all is read.
CHANGES = """
set timezone = 'UTC';
update order_line set amount = 5 where order_id = 2;
update "Order" set "Select" = 'y', "UpdatedAt" = now() + interval '1 second';
update typed set m = 'sad', modified = now() + interval '1 second' where id = 1;
update by_trigger set note = 'b';
insert into measured values ('2024-06-06', 9, now());
insert into growing (what) values ('new');
delete from no_key where ctid = '(0,1)';
insert into "HR".order_line values (3);
"""


def rows_of(
    database: duckdb.DuckDBPyConnection | psycopg.Connection,
    place: str | None,
    table: SourceTable,
    stream: StreamDeclaration,
) -> list[Row]:
    """Return a table's rows as texts; `place` is where they are in the lake, None asks the source."""
    shown = []
    for column in table.columns:
        if stream.columns is None or column.name in stream.columns:
            name = sql_name(column.name)
            if place:
                shown.append(f"{name}::varchar")
            else:
                shown.append(f"to_json({name})::text" if column.type_category == "A" else f"{name}::text")
    origin = place or sql_name(table.schema, table.name)
    if isinstance(database, psycopg.Connection):
        database.execute("set timezone = 'UTC'")
        return sorted(
            database.execute(f"select {', '.join(shown)} from {origin}".encode()).fetchall(), key=str
        )
    return sorted(database.execute(f"select {', '.join(shown)} from {origin}").fetchall(), key=str)


# What the shipped declarations say otherwise, because a person knows what no catalog says: these tables
# have a growing key that no sequence draws, and rows are only ever added.
KNOWN_BY_A_PERSON = {
    ("crm", "customer_demographics"): ("incremental_deduped_history", "cd_demo_sk"),
    ("erp", "date_dim"): ("incremental_deduped_history", "d_date_sk"),
}


@pytest.mark.parametrize("source", ["crm", "erp", "accounting"])
def test_the_samples_declarations_are_what_is_discovered(
    cluster: Cluster, extension_directory: Path, tmp_path: Path, source: str
) -> None:
    databases, _ = generated(cluster, extension_directory)
    found = discover(address(cluster, databases.names[source]), name=source, schemas=["public"])
    write(found, tmp_path / f"{source}.yaml")
    discovered = {stream.name: stream for stream in load_declaration(tmp_path / f"{source}.yaml").streams}
    (shipped,) = [one for one in load_declarations() if one.source == source]

    assert sorted(discovered) == sorted(stream.name for stream in shipped.streams)
    for stream in shipped.streams:
        ours = discovered[stream.name]
        expected = KNOWN_BY_A_PERSON.get((source, stream.name), (ours.sync_mode, ours.cursor))
        assert (stream.sync_mode, stream.cursor) == expected
        assert stream.primary_key == ours.primary_key
    maintained = [s for s in found.proposal.streams if s.cursor == "updated_at"]
    assert maintained
    for proposed in maintained:
        assert "set by trigger set_updated_at, indexed, never null" in " ".join(proposed.notes)
