"""What the stand-in accepts as a connection, checked against the source as Airbyte does it."""

from __future__ import annotations

from typing import Any

import psycopg

from blocks.postgres_catalog import SourceTable, read_tables
from deployments.local.airbyte.job_spec import PostgresAddress
from deployments.local.airbyte.problems import Problem, lacking
from deployments.local.airbyte.targets import target_of

Document = dict[str, Any]
SYNC_MODES = (
    "full_refresh_overwrite",
    "full_refresh_append",
    "incremental_append",
    "incremental_deduped_history",
)
_BEHAVIOURS = ("ignore", "disable_connection", "propagate_columns", "propagate_fully")


def discover(source: Document) -> dict[tuple[str, str], SourceTable]:
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


def checked_connection(body: Document, source: Document, destination: Document) -> Document:
    """Return a connection's fields, its streams completed from the source.

    Raises:
        Problem: 400 for a stream that does not fit the source, 422 for a wrong value, 501 for what this
            stand-in lacks.
    """
    schedule = body.get("schedule") or {"scheduleType": "manual"}
    if schedule.get("scheduleType") != "manual":
        raise lacking(f"the schedule type {schedule.get('scheduleType')}: Prefect starts the syncs")
    behaviour = body.get("nonBreakingSchemaUpdatesBehavior") or "ignore"
    if behaviour not in _BEHAVIOURS:
        raise Problem(422, f"body.nonBreakingSchemaUpdatesBehavior: {behaviour}")
    status = body.get("status") or "active"
    if status not in ("active", "inactive", "deprecated"):
        raise Problem(422, f"body.status: {status}")
    tables = discover(source)
    asked = (body.get("configurations") or {}).get("streams")
    if asked is None:
        asked = [{"name": t.name, "namespace": t.schema} for t in tables.values()]
    connection = {
        "sourceId": body["sourceId"],
        "destinationId": body["destinationId"],
        "status": status,
        "schedule": {"scheduleType": "manual"},
        "namespaceDefinition": body.get("namespaceDefinition") or "destination",
        "namespaceFormat": body.get("namespaceFormat"),
        "prefix": body.get("prefix") or "",
        "nonBreakingSchemaUpdatesBehavior": behaviour,
        "configurations": {"streams": [_checked_stream(stream, tables) for stream in asked]},
    }
    _refuse_collisions(connection, destination)
    return connection


def _checked_stream(stream: Document, tables: dict[tuple[str, str], SourceTable]) -> Document:
    name, namespace = stream.get("name"), stream.get("namespace")
    found = [t for t in tables.values() if t.name == name and namespace in (None, t.schema)]
    if not found:
        raise Problem(400, f"Stream {name} was not found in the source's schemas")
    table = found[0]
    for lacked in ("mappers", "destinationObjectName", "includeFiles"):
        if stream.get(lacked):
            raise lacking(f"{lacked} of stream {name}")
    mode = stream.get("syncMode") or "full_refresh_overwrite"
    if mode not in SYNC_MODES:
        raise lacking(f"the sync mode {mode} of stream {name}")
    cursor = list(stream.get("cursorField") or [])
    key = [list(path) for path in stream.get("primaryKey") or [[c] for c in table.primary_key]]
    if mode.startswith("incremental") and not cursor:
        raise Problem(400, f"Stream {name} needs a cursorField for {mode}")
    if mode == "incremental_deduped_history" and not key:
        raise Problem(400, f"Stream {name} has no primary key, {mode} needs one")
    selected = [list(item["fieldPath"]) for item in stream.get("selectedFields") or []]
    for path in [*([cursor] if cursor else []), *key, *selected]:
        if len(path) != 1 or table.column(path[0]) is None:
            raise Problem(400, f"Stream {name} has no field {'.'.join(path)}")
    return {
        "name": table.name,
        "namespace": table.schema,
        "syncMode": mode,
        "cursorField": cursor,
        "primaryKey": key,
        "mappers": [],
        **({"selectedFields": [{"fieldPath": path} for path in selected]} if selected else {}),
    }


def _refuse_collisions(connection: Document, destination: Document) -> None:
    seen: dict[tuple[str, str], str] = {}
    for stream in connection["configurations"]["streams"]:
        schema, table = target_of(connection, destination, stream)
        # The lake, like Snowflake, does not tell names apart by case.
        place, name = (schema.lower(), table.lower()), f"{stream['namespace']}.{stream['name']}"
        if place in seen:
            raise Problem(400, f"Streams {seen[place]} and {name} would be written to the same table")
        seen[place] = name
