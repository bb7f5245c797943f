"""Parse SQL as Snowflake's, by sqlglot; run by the Python of `.venv-fakesnow`.

Arguments are files of statements. Prints, as JSON, what could not be parsed wholly, by file and statement.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import sqlglot
from sqlglot import ErrorLevel, exp


def not_parsed(sql: str) -> list[str]:
    """Return the statements that sqlglot does not understand, or only as a command that it passes on."""
    statements = [each.strip() for each in sql.split(";\n") if each.strip()]
    return [each for each in statements if not _understood(each)]


def _understood(statement: str) -> bool:
    try:
        [parsed] = sqlglot.parse(statement, dialect="snowflake", error_level=ErrorLevel.RAISE)
    except (sqlglot.errors.SqlglotError, ValueError):
        return False
    return parsed is not None and not list(parsed.find_all(exp.Command))


logging.disable()  # sqlglot tells of each command that it passes on
found = {name: not_parsed(Path(name).read_text()) for name in sys.argv[1:]}
print(json.dumps({name: each for name, each in found.items() if each}))  # noqa: T201
