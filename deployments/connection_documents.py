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
SECRETS = ("password", "private_key", "private_key_password", "ca_certificate")
# Airbyte's Snowflake destination turns numeric into FLOAT unless told otherwise (airbytehq/airbyte#83713).
DECIMALS = {"number_data_type": "NUMBER(38,9)"}
# Lists whose order means nothing; a server may give them in another one.
_UNORDERED = ("schemas", "primaryKey", "selectedFields")


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
        "ssl_mode": _ssl_mode(settings),
        "replication_method": _replication_method(declaration),
    }


def _ssl_mode(settings: PostgresSource) -> Document:
    mode: Document = {"mode": settings.ssl_mode}
    if settings.ssl_ca_certificate is not None:
        mode["ca_certificate"] = settings.ssl_ca_certificate.get_secret_value()
    return mode


def _replication_method(declaration: ConnectionDeclaration) -> Document:
    """Return how changes are found.

    Source: https://docs.airbyte.com/integrations/sources/postgres#reference
    """
    if declaration.cdc is not None:
        return {"method": "CDC", "plugin": "pgoutput", **declaration.cdc.model_dump()}
    return {"method": {"cursor": "Standard", "xmin": "Xmin"}[declaration.replication]}


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
    new_columns = "ignore" if declaration.schema_changes.columns == "ignore" else "propagate_columns"
    return {
        "name": declaration.source,
        "status": "active",
        # Prefect decides when a sync runs.
        "schedule": {"scheduleType": "manual"},
        "namespaceDefinition": "custom_format",
        "namespaceFormat": declaration.destination_schema,
        "prefix": declaration.table_prefix,
        "nonBreakingSchemaUpdatesBehavior": new_columns,
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


def undeclared_streams(wanted: Document, present: Document) -> list[Document]:
    """Return the streams of a connection that somebody added by hand."""
    ours = wanted["configurations"]["streams"]
    return [stream for stream in _streams_of(present) if not any(_same(mine, stream, ours) for mine in ours)]


def keep_undeclared(wanted: Document, present: Document) -> Document:
    """Return `wanted` with the streams that were added by hand: a PATCH replaces the whole list."""
    streams = [*wanted["configurations"]["streams"], *undeclared_streams(wanted, present)]
    return {**wanted, "configurations": {"streams": streams}}


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
    if path.endswith(_UNORDERED) and isinstance(wanted, list) and isinstance(present, list):
        return () if _sorted(wanted) == _sorted(present) else (f"{path}: {present} → {wanted}",)
    # An empty text is what servers leave out.
    return (
        () if wanted == present or (wanted == "" and present is None) else (f"{path}: {present} → {wanted}",)
    )


def _stream_differences(wanted: list[Document], present: list[Document]) -> tuple[str, ...]:
    found: list[str] = []
    for stream in wanted:
        name = f"{stream['namespace']}.{stream['name']}"
        theirs = next((other for other in present if _same(stream, other, wanted)), None)
        if theirs is None:
            found.append(f"stream {name}: added")
            continue
        shown = {key: value for key, value in stream.items() if key != "namespace"}
        found += differences(shown, theirs, f"stream {name}")
        # Left out, it means "all columns".
        if theirs.get("selectedFields") and "selectedFields" not in stream:
            found.append(f"stream {name}.selectedFields: {theirs['selectedFields']} → none")
    return tuple(found)


def _same(declared: Document, other: Document, among: list[Document]) -> bool:
    """Tell whether a server's stream is the declared one; older servers do not show its namespace."""
    if declared["name"] != other["name"]:
        return False
    namespace = other.get("namespace")
    alone = sum(stream["name"] == declared["name"] for stream in among) == 1
    return namespace == declared["namespace"] or (namespace is None and alone)


def _streams_of(connection: Document) -> list[Document]:
    streams = (connection.get("configurations") or {}).get("streams") or []
    return list(streams)


def _sorted(items: list[Any]) -> list[str]:
    return sorted(str(item) for item in items)


def has_secrets(configuration: Document) -> bool:
    """Tell whether a configuration has a field that servers never show."""
    return any(
        key in SECRETS or (isinstance(value, dict) and has_secrets(value))
        for key, value in configuration.items()
    )
