"""What the stand-in accepts as a connection, checked against the source as Airbyte does it."""

from __future__ import annotations

from typing import Any

import psycopg

from blocks.postgres_catalog import SourceTable, read_tables
from deployments.local.airbyte.connection_bodies import ConnectionBody, StreamBody
from deployments.local.airbyte.job_spec import PostgresAddress
from deployments.local.airbyte.problems import Problem
from deployments.local.airbyte.stream_fit import misfit
from deployments.local.airbyte.targets import target_of

Document = dict[str, Any]
SYNC_MODES = (
    "full_refresh_overwrite",
    "full_refresh_append",
    "incremental_append",
    "incremental_deduped_history",
)
Tables = dict[tuple[str, str], SourceTable]


def discover(source: Document) -> Tables:
    """Describe a source's tables.

    Raises:
        Problem: 400, the source does not answer.
    """
    address = PostgresAddress(**{key: source[key] for key in PostgresAddress.model_fields if key in source})
    try:
        with psycopg.connect(
            host=address.host,
            port=address.port,
            user=address.username,
            dbname=address.database,
            password=address.password,
            sslmode=address.ssl_mode,
            connect_timeout=10,
            autocommit=True,
        ) as database:
            return read_tables(
                lambda sql: [row[0] for row in database.execute(sql.encode()).fetchall()], address.schemas
            )
    except psycopg.Error as error:
        raise Problem(400, f"The source cannot be read: {str(error).strip()}") from None


def stream_properties(source: Document) -> list[Document]:
    """Return the source's streams as `StreamProperties`."""
    return [
        {
            "streamName": table.name,
            "streamnamespace": table.schema,
            "syncModes": list(SYNC_MODES),
            "defaultCursorField": [],
            "sourceDefinedCursorField": False,
            "sourceDefinedPrimaryKey": [[name] for name in table.primary_key],
            "propertyFields": [[column.name] for column in table.columns],
        }
        for table in discover(source).values()
    ]


def checked_connection(body: ConnectionBody, source: Document, destination: Document) -> Document:
    """Return a connection's fields, its streams completed from the source.

    Raises:
        Problem: 400 for a stream that does not fit the source.
    """
    tables = discover(source)
    asked = body.configurations.streams if body.configurations else None
    if asked is None:
        asked = [StreamBody(name=table.name, namespace=table.schema) for table in tables.values()]
    connection = {
        "sourceId": body.sourceId,
        "destinationId": body.destinationId,
        "status": body.status or "active",
        "schedule": {"scheduleType": "manual"},
        "namespaceDefinition": body.namespaceDefinition or "destination",
        "namespaceFormat": body.namespaceFormat,
        "prefix": body.prefix or "",
        "nonBreakingSchemaUpdatesBehavior": body.nonBreakingSchemaUpdatesBehavior or "ignore",
        "configurations": {"streams": [_checked_stream(stream, tables) for stream in asked]},
    }
    _refuse_collisions(connection, destination)
    return connection


def _checked_stream(stream: StreamBody, tables: Tables) -> Document:
    table = _find(stream, tables)
    mode = stream.syncMode or "full_refresh_overwrite"
    key = stream.primaryKey or [[name] for name in table.primary_key]
    if mode.startswith("incremental") and not stream.cursorField:
        raise Problem(400, f"Stream {table.name} needs a cursorField for {mode}")
    if mode == "incremental_deduped_history" and not key:
        raise Problem(400, f"Stream {table.name} has no primary key, {mode} needs one")
    selected = [field.fieldPath for field in stream.selectedFields or []]
    for path in [*([stream.cursorField] if stream.cursorField else []), *key, *selected]:
        if len(path) != 1 or table.column(path[0]) is None:
            raise Problem(400, f"Stream {table.name} has no field {'.'.join(path)}")
    cursor = stream.cursorField[0] if stream.cursorField else None
    unfit = misfit(table, mode, cursor, [path[0] for path in key], [path[0] for path in selected] or None)
    if unfit:
        raise Problem(400, f"Stream {table.name}: {unfit}")
    return {
        "name": table.name,
        "namespace": table.schema,
        "syncMode": mode,
        "cursorField": stream.cursorField or [],
        "primaryKey": key,
        "mappers": [],
        **({"selectedFields": [{"fieldPath": path} for path in selected]} if selected else {}),
    }


def _find(stream: StreamBody, tables: Tables) -> SourceTable:
    found = [t for t in tables.values() if t.name == stream.name and stream.namespace in (None, t.schema)]
    if not found:
        raise Problem(400, f"Stream {stream.name} was not found in the source's schemas")
    if len(found) > 1:
        schemas = ", ".join(table.schema for table in found)
        raise Problem(400, f"Stream {stream.name} is in the schemas {schemas}: give its namespace")
    return found[0]


def _refuse_collisions(connection: Document, destination: Document) -> None:
    seen: dict[tuple[str, str], str] = {}
    for stream in connection["configurations"]["streams"]:
        schema, table = target_of(connection, destination, stream)
        # The lake, like Snowflake, does not tell names apart by case.
        place, name = (schema.lower(), table.lower()), f"{stream['namespace']}.{stream['name']}"
        if place in seen:
            raise Problem(400, f"Streams {seen[place]} and {name} would be written to the same table")
        seen[place] = name
