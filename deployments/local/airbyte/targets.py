"""Which table of the lake a stream goes to, by the rules of Airbyte's namespace settings."""

from __future__ import annotations

from typing import Any

from lambda_csv_loader.ducklake import DuckLakeSettings


def lake_settings(configuration: dict[str, Any]) -> DuckLakeSettings:
    """Return the lake that a destination's configuration describes.

    Raises:
        pydantic.ValidationError: a field is missing or wrong.
    """
    fields = {key: value for key, value in configuration.items() if key not in ("destinationType", "schema")}
    return DuckLakeSettings(**fields)


def target_of(
    connection: dict[str, Any], destination: dict[str, Any], stream: dict[str, Any]
) -> tuple[str, str]:
    """Return schema and table of a stream.

    See `namespaceDefinition`, `namespaceFormat` and `prefix` in
    https://reference.airbyte.com/reference/createconnection.
    """
    default = destination.get("schema") or "main"
    definition = connection.get("namespaceDefinition", "destination")
    if definition == "source":
        schema = stream["namespace"]
    elif definition == "custom_format":
        pattern = connection.get("namespaceFormat") or default
        schema = pattern.replace("${SOURCE_NAMESPACE}", stream["namespace"])
    else:
        schema = default
    return schema, (connection.get("prefix") or "") + stream["name"]
