"""Declarations and settings that tests of connections share."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from blocks.settings import AirbyteSettings, ObjectStoreSettings, PostgresSource, Settings
from deployments.connection import ConnectionDeclaration
from tests.airbyte_service import CLIENT_ID, CLIENT_SECRET

SECRET = "the-source-password"


def declaration(source: str, *streams: dict[str, Any], **fields: Any) -> ConnectionDeclaration:
    """Return a declaration of these streams into `raw_<source>`."""
    return ConnectionDeclaration.model_validate(
        {
            "source": source,
            "owner": "somebody",
            "destination_schema": f"raw_{source}",
            "fresh_within": "26h",
            "streams": list(streams),
            **fields,
        }
    )


CUSTOMER = {
    "name": "customer",
    "sync_mode": "incremental_deduped_history",
    "cursor": "changed",
    "primary_key": ["id"],
}
REASON = {"name": "reason", "sync_mode": "full_refresh_overwrite"}


def made(url: str, sources: dict[str, PostgresSource], warehouse: Any, workspace: str = "floe") -> Settings:
    """Return settings of a workspace on the Airbyte at `url`."""
    return Settings(
        airbyte=AirbyteSettings(
            server_url=url, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET), workspace=workspace
        ),
        sources=sources,
        object_store=ObjectStoreSettings(bucket="b", queue_url="q", dead_letter_queue_url="d"),
        warehouse=warehouse,
    )
