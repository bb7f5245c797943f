"""The Prefect server of a laptop: `python -m deployments.local.prefect_server --port 4200`.

The same as `prefect server start`, but every SQLite transaction takes the lock for writing when it
begins. Prefect begins most of them with a read; one that writes after another has written meanwhile is
refused at once ("database is locked", https://www.sqlite.org/lang_transaction.html), whatever the busy
timeout. Clients then wait 2, 4, 8 seconds, and events are lost. A transaction that asks for the lock
first waits for its turn, some milliseconds. On PostgreSQL, as in production, there is none of this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import typer
import uvicorn
from prefect.server.api.server import create_app
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from deployments import silence

HOST = "127.0.0.1"


class WritersTakeTurns(AioSqliteConfiguration):
    """Prefect's SQLite database with transactions that wait for the lock instead of failing on it."""

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Begin a transaction with the lock for writing, whatever it is going to do."""
        async with super().begin_transaction(session, with_for_update=True) as transaction:
            yield transaction


def main(port: Annotated[int, typer.Option(min=1, max=65535, help="on 127.0.0.1")]) -> None:
    """Serve Prefect's API and UI, and run its services, until SIGTERM."""
    url = get_current_settings().server.database.connection_url
    assert url is not None  # noqa: S101 - Prefect has a default
    MODELS_DEPENDENCIES["database_config"] = WritersTakeTurns(connection_url=url.get_secret_value())
    asyncio.run(silence.begin_anew())
    uvicorn.run(create_app(final=True), host=HOST, port=port, log_level="warning", lifespan="on")


if __name__ == "__main__":
    typer.run(main)
