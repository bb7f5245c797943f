"""Start the Snowflake emulator, nearer to Snowflake in what the loader meets.

Run by the Python of `.venv-fakesnow`. `fakesnow -s` alone answers a conflict and a null in a NOT NULL
column with HTTP 500, which the connector repeats until its time is over; and it keeps the transaction of
a client that died for ever, where Snowflake ends it after 5 minutes once another waits for its lock.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import duckdb
import uvicorn
from fakesnow.cursor import FakeSnowflakeCursor
from fakesnow.server import app, sessions
from snowflake.connector.errors import ProgrammingError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

execute = FakeSnowflakeCursor._execute


def execute_as_snowflake(self: FakeSnowflakeCursor, *arguments: Any, **more: Any) -> None:
    try:
        execute(self, *arguments, **more)
    except duckdb.TransactionException as error:
        raise ProgrammingError(msg=str(error), errno=625, sqlstate="57014") from None
    except duckdb.ConstraintException as error:
        raise ProgrammingError(msg=str(error), errno=100072, sqlstate="22000") from None


def five_minutes_later(_: Request) -> Response:
    """End every open transaction."""
    for session in sessions.values():
        with contextlib.suppress(duckdb.Error):
            session._duck_conn.rollback()
    return Response()


def all_sessions_over(_: Request) -> Response:
    """Forget every login, as Snowflake does after 4 hours."""
    sessions.clear()
    return Response()


FakeSnowflakeCursor._execute = execute_as_snowflake
app.routes.append(Route("/five-minutes-later", five_minutes_later, methods=["POST"]))
app.routes.append(Route("/all-sessions-over", all_sessions_over, methods=["POST"]))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=1)
