"""The Prefect blocks of the declared connections: a connection, a database and a plan of comparisons each."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.blocks.core import Block

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_streams import ReplicatedStream
from blocks.reconcile_plan import plan_name
from blocks.settings import PostgresSource, Settings
from blocks.source_database import SourceDatabase
from deployments.connection import ConnectionDeclaration
from deployments.reconcile_plans import reconcile_plan


def server_block(settings: Settings) -> AirbyteServer:
    """Return the block of the server that the settings name."""
    return AirbyteServer(
        server_url=settings.airbyte.server_url,
        client_id=settings.airbyte.client_id,
        client_secret=settings.airbyte.client_secret,
        public_path=settings.airbyte.public_path,
        config_path=settings.airbyte.config_path or None,
    )


def connection_blocks(
    declarations: Sequence[ConnectionDeclaration], settings: Settings, connection_ids: dict[str, str]
) -> dict[str, Block]:
    """Return the blocks of each connection by the names under which flows load them.

    `<source>` is the Airbyte connection, `<source>-source` the database itself, `<source>-reconcile` what
    of it is compared.
    """
    server = server_block(settings)
    blocks: dict[str, Block] = {}
    for declaration in declarations:
        name = declaration.source
        blocks[name] = connection_block(declaration, server, connection_ids[name])
        blocks[database_name(name)] = database_block(settings.sources[name])
        blocks[plan_name(name)] = reconcile_plan(declaration)
    return blocks


def connection_block(
    declaration: ConnectionDeclaration, server: AirbyteServer, connection_id: str
) -> AirbyteConnection:
    """Return the block of one connection."""
    return AirbyteConnection(
        server=server,
        connection_id=connection_id,
        name=declaration.source,
        destination_schema=declaration.destination_schema,
        table_prefix=declaration.table_prefix,
        streams=replicated_streams(declaration),
        schema_changes=declaration.schema_changes,
        deadline_seconds=declaration.deadline.total_seconds(),
        stall_seconds=declaration.stall.total_seconds(),
        poll_seconds=declaration.poll.total_seconds(),
    )


def replicated_streams(declaration: ConnectionDeclaration) -> tuple[ReplicatedStream, ...]:
    """Return the declared streams as flows see them, their raw tables worked out."""
    return tuple(
        ReplicatedStream(
            namespace=stream.namespace,
            name=stream.name,
            raw_schema=declaration.target_schema(stream),
            raw_table=declaration.target_table(stream),
            sync_mode=stream.sync_mode,
            primary_key=tuple(stream.primary_key),
            cursor=stream.cursor,
            columns=tuple(stream.columns) if stream.columns else None,
            fresh_within_seconds=(stream.fresh_within or declaration.fresh_within).total_seconds(),
            owner=stream.owner or declaration.owner,
        )
        for stream in declaration.streams
    )


def database_name(source: str) -> str:
    """Return the name under which a source's database is saved."""
    return f"{source}-source"


def database_block(settings: PostgresSource) -> SourceDatabase:
    """Return the block of a source's database."""
    return SourceDatabase(
        host=settings.host,
        port=settings.port,
        database=settings.database,
        user=settings.user,
        password=settings.password,
        ssl_mode=settings.ssl_mode,
    )
