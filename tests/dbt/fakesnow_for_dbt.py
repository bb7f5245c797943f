"""Start the Snowflake emulator, nearer to Snowflake in what dbt meets.

Run by the Python of `.venv-fakesnow`. Each change brings an answer of `fakesnow` 0.12.1 nearer to what
Snowflake documents; none touches the SQL that dbt sends, which is written to the file given as second
argument, a JSON string per line.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import fakesnow.transforms
from fakesnow.cursor import FakeSnowflakeCursor
from snowflake.connector.errors import Error, ProgrammingError
from sqlglot import exp, parse_one

STATEMENTS = Path(sys.argv[2])
execute = FakeSnowflakeCursor.execute
transform = FakeSnowflakeCursor._transform
run = FakeSnowflakeCursor._execute
implicit_cast = fakesnow.transforms.numeric_agg_implicit_cast


def told_and_answered(self: FakeSnowflakeCursor, command: str, *arguments: Any, **more: Any) -> Any:
    """Write the statement down; answer what the emulator cannot run with an error, as Snowflake does.

    Otherwise it answers with HTTP 500, which the connector repeats for ever.
    """
    with STATEMENTS.open("a") as statements:
        statements.write(json.dumps(command) + "\n")
    try:
        return execute(self, command, *arguments, **more)
    except Error:
        raise
    except Exception as error:  # noqa: BLE001
        raise ProgrammingError(msg=f"{type(error).__name__}: {error}", errno=9999) from None


def transformed(self: FakeSnowflakeCursor, expression: Any, params: Any) -> Any:
    """Let a temporary table stand in a schema, as a table that dbt replaces or drops itself."""
    if isinstance(expression, exp.Create) and (properties := expression.args.get("properties")):
        kept = [each for each in properties.expressions if not isinstance(each, exp.TemporaryProperty)]
        properties.set("expressions", kept)
    return transform(self, expression.transform(hash_of_rows), params)


def hash_of_rows(expression: Any) -> Any:
    """Give HASH_AGG, which DuckDB lacks: a hash of a set of rows, whatever their order."""
    if not isinstance(expression, exp.HashAgg):
        return expression
    columns = [expression.this, *expression.expressions]
    return exp.func("bit_xor", exp.Anonymous(this="hash", expressions=columns))


def exact_sums(expression: Any) -> Any:
    """Add numbers as numbers: the emulator would add them as floating-point."""
    return expression if isinstance(expression, exp.Sum) else implicit_cast(expression)


def merged_by_duckdb(self: FakeSnowflakeCursor, statement: Any, *arguments: Any) -> None:
    """Leave a MERGE to DuckDB: the emulator's own takes a column without its table for ambiguous."""
    if not isinstance(statement, exp.Merge):
        return run(self, statement, *arguments)
    statement.set("returning", exp.Returning(expressions=[exp.column("merge_action")]))
    run(self, statement, *arguments)
    actions = self._arrow_table.column(0).to_pylist()
    counts = (f'{actions.count(verb.upper())} as "number of rows {verb}ed"' for verb in ("insert", "updat"))
    return run(self, parse_one(f"select {', '.join(counts)}"), *arguments)


FakeSnowflakeCursor.execute = told_and_answered
FakeSnowflakeCursor._transform = transformed
fakesnow.transforms.numeric_agg_implicit_cast = exact_sums
fakesnow.transforms.merge = lambda expression: [expression]
FakeSnowflakeCursor._execute = merged_by_duckdb
runpy.run_path(str(Path(__file__).parents[1] / "fakesnow_server.py"), run_name="__main__")
