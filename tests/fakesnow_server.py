"""Start the Snowflake emulator, telling two of DuckDB's errors as Snowflake tells them.

Run by the Python of `.venv-fakesnow`. Plain `fakesnow -s` answers a conflict and a null in a NOT NULL
column with HTTP 500, which the connector repeats until its time is over.
"""

from __future__ import annotations

import sys
from typing import Any

import duckdb
import fakesnow.cli
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import ProgrammingError

execute = FakeSnowflakeCursor._execute


def execute_as_snowflake(self: FakeSnowflakeCursor, *arguments: Any, **more: Any) -> None:
    try:
        execute(self, *arguments, **more)
    except duckdb.TransactionException as error:
        raise ProgrammingError(msg=str(error), errno=625, sqlstate="57014") from None
    except duckdb.ConstraintException as error:
        raise ProgrammingError(msg=str(error), errno=100072, sqlstate="22000") from None


FakeSnowflakeCursor._execute = execute_as_snowflake
sys.exit(fakesnow.cli.main(["-s", "-p", sys.argv[1]]))
