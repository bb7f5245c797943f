"""Declared connections in the words of Airbyte's public API, and how they differ from what a server has.

Reference: https://reference.airbyte.com/reference/createconnection and its neighbours.
"""

from __future__ import annotations

from typing import Any

from blocks.settings import PostgresSource
from deployments.connection import ConnectionDeclaration, StreamDeclaration
from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.settings import SnowflakeSettings

Document = dict[str, Any]
SECRETS = ("password", "private_key", "private_key_password")
# Airbyte's Snowflake destination turns numeric into FLOAT unless told otherwise (airbytehq/airbyte#83713).
DECIMALS = {"number_data_type": "NUMBER(38,9)"}


def source_document(settings: PostgresSource, declaration: ConnectionDeclaration) -> Document:
    """Return the configuration of a source, as Airbyte's source-postgres wants it."""
    return {
        "sourceType": "postgres",
        "host": settings.host,
        "port": settings.port,
        "database": settings.database,
        "schemas": declaration.schemas,
        "username": settings.user,
        "password": settings.password.get_secret_value(),
        "replication_method": {"method": "Standard"},
    }


def destination_document(warehouse: DuckLakeSettings | SnowflakeSettings) -> Document:
    """Return the configuration of the destination: Snowflake, or the lake of the local stand-in."""
    if isinstance(warehouse, DuckLakeSettings):
        return {"destinationType": "ducklake", **warehouse.model_dump(mode="json")}
    credentials = {
        "auth_type": "Key Pair Authentication",
        "private_key": warehouse.private_key.get_secret_value(),
    }
    if warehouse.private_key_passphrase is not None:
        credentials["private_key_password"] = warehouse.private_key_passphrase.get_secret_value()
    return {
        "destinationType": "snowflake",
        "host": f"{warehouse.account}.snowflakecomputing.com",
        "role": warehouse.role,
        "warehouse": warehouse.warehouse,
        "database": warehouse.database,
        "schema": "PUBLIC",
        "username": warehouse.user,
        "credentials": credentials,
        **DECIMALS,
    }


def connection_document(declaration: ConnectionDeclaration) -> Document:
    """Return what a connection is to be like, but for the ids of its ends."""
    return {
        "name": declaration.source,
        "status": "active",
        # Prefect decides when a sync runs.
        "schedule": {"scheduleType": "manual"},
        "namespaceDefinition": "custom_format",
        "namespaceFormat": declaration.destination_schema,
        "nonBreakingSchemaUpdatesBehavior": "propagate_columns",
        "configurations": {"streams": [_stream(stream) for stream in declaration.streams]},
    }


def _stream(stream: StreamDeclaration) -> Document:
    document: Document = {
        "name": stream.name,
        "namespace": stream.namespace,
        "syncMode": stream.sync_mode,
    }
    if stream.cursor:
        document["cursorField"] = [stream.cursor]
    if stream.primary_key:
        document["primaryKey"] = [[name] for name in stream.primary_key]
    if stream.columns:
        document["selectedFields"] = [{"fieldPath": [name]} for name in stream.columns]
    return document


def keep_undeclared(wanted: Document, present: Document) -> None:
    """Let streams that somebody added by hand stay: a PATCH replaces the whole list."""
    streams = wanted["configurations"]["streams"]
    declared = {(stream["namespace"], stream["name"]) for stream in streams}
    streams += [
        stream
        for stream in present["configurations"]["streams"]
        if (stream.get("namespace"), stream["name"]) not in declared
    ]


def differences(wanted: Any, present: Any, path: str = "") -> tuple[str, ...]:
    """Return what of `wanted` the server has otherwise; what it has on top of it is its own business."""
    if isinstance(wanted, dict) and isinstance(present, dict):
        return tuple(
            difference
            for key, value in wanted.items()
            if key not in SECRETS and key not in ("sourceType", "destinationType")
            for difference in differences(value, present.get(key), f"{path}.{key}" if path else key)
        )
    if path.endswith("streams") and isinstance(wanted, list) and isinstance(present, list):
        return _stream_differences(wanted, present)
    return () if wanted == present else (f"{path}: {present} → {wanted}",)


def _stream_differences(wanted: list[Document], present: list[Document]) -> tuple[str, ...]:
    def by_name(streams: list[Document]) -> dict[str, Document]:
        return {f"{s.get('namespace', 'public')}.{s['name']}": s for s in streams}

    ours, theirs = by_name(wanted), by_name(present)
    found = [f"stream {name}: added" for name in ours if name not in theirs]
    for name in ours:
        if name in theirs:
            found += differences(ours[name], theirs[name], f"stream {name}")
    return tuple(found)


def has_secrets(configuration: Document) -> bool:
    """Tell whether a configuration has a field that servers never show."""
    return any(
        key in SECRETS or (isinstance(value, dict) and has_secrets(value))
        for key, value in configuration.items()
    )
