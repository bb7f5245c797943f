"""The SQL in which the two warehouses differ where raw tables are compared and repaired.

Each kind of column has one text, the same as `blocks.canonical_text` makes of it in PostgreSQL. DuckDB's is
run by every test; Snowflake's is written from its documentation and parsed only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import duckdb

from lambda_csv_loader.ducklake import sql_name, sql_string

Kind = Literal[
    "boolean", "integer", "decimal", "float", "date", "time", "timestamp", "instant", "text", "json", "nested"
]
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("BOOLEAN",), "boolean"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "integer"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "REAL"), "float"),
    **dict.fromkeys(("DECIMAL", "NUMERIC", "NUMBER"), "decimal"),
    **dict.fromkeys(("DATE",), "date"),
    **dict.fromkeys(("TIME",), "time"),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_NTZ"), "timestamp"),
    **dict.fromkeys(("TIMESTAMP WITH TIME ZONE", "TIMESTAMP_TZ", "TIMESTAMP_LTZ"), "instant"),
    **dict.fromkeys(("VARCHAR", "TEXT"), "text"),
    **dict.fromkeys(("JSON",), "json"),
}


class Database(Protocol):
    """The part of a DuckDB connection or a Snowflake cursor that comparing and repairing need."""

    def execute(self, query: str, parameters: Sequence[object] | None = None, /) -> Any:
        """Run one statement."""

    def fetchall(self) -> list[Any]:
        """Return the rows of the last statement."""

    def fetchmany(self, size: int, /) -> list[Any]:
        """Return the next rows of the last statement, none at its end."""


@dataclass(frozen=True)
class RawColumn:
    """One column of a table in the warehouse.

    Attributes:
        name: as the warehouse spells it.
        declared: its type as `describe` shows it.
    """

    name: str
    declared: str

    @property
    def sql(self) -> str:
        """The quoted name."""
        return sql_name(self.name)

    @property
    def kind(self) -> Kind:
        """What its values are, "nested" for types that have no one text."""
        head = re.sub(r"\(.*", "", self.declared.upper())
        kind = _KINDS.get(head, "nested") if "[" not in head else "nested"
        return "integer" if kind == "decimal" and self.scale == 0 else kind

    @property
    def precision(self) -> int:
        """Digits of a decimal."""
        found = re.search(r"\((\d+)", self.declared)
        return int(found[1]) if found else 38

    @property
    def scale(self) -> int:
        """Digits of a decimal after the point."""
        found = re.search(r",\s*(\d+)\)", self.declared)
        return int(found[1]) if found else 0


class Dialect(Protocol):
    """How one warehouse writes what comparing and repairing need."""

    name: str

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises when the warehouse refuses something."""

    def literal(self, text: str | None) -> str:
        """Return a string literal, `null` for None."""

    def cast(self, text: str, declared: str) -> str:
        """Return the value of a column's type that a text expression stands for."""

    def text(self, column: RawColumn, value: str) -> str:
        """Return a column's canonical text; `value` is the column, qualified and quoted."""

    def key_text(self, column: RawColumn, value: str) -> str:
        """Return a text that PostgreSQL and the warehouse itself read back as the same value."""

    def row_text(self, texts: Sequence[tuple[Kind, str]]) -> str:
        """Return one text of several columns' canonical texts, as `canonical_text.row_text` does."""

    def number(self, text: str) -> str:
        """Return the first 60 bits of a text's MD5 as a number."""

    def finite(self, column: RawColumn, value: str) -> str:
        """Return a condition that is true for values that are a point on their scale."""


def parts(texts: Sequence[tuple[Kind, str]], length: str) -> list[str]:
    """Return the parts whose concatenation, NULL as '', is a row's text.

    A text says its length first, so that no separator is ambiguous; a NULL is nothing, which no other
    value is: a text of no length is `0:`.

    Args:
        texts: of the columns, each with its kind.
        length: the expression for a text's length, `{}` standing for the text.
    """
    found: list[str] = []
    for kind, text in texts:
        if kind in ("text", "json"):
            found += [length.format(text), "':'"]
        found += [text, "';'"]
    return found


class DuckDbDialect:
    """DuckDB and DuckLake."""

    name = "duckdb"

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises when the warehouse refuses something."""
        return (duckdb.Error,)

    def literal(self, text: str | None) -> str:
        """Return a string literal, `null` for None."""
        return "null" if text is None else sql_string(text)

    def cast(self, text: str, declared: str) -> str:
        """Return the value of a column's type that a text expression stands for."""
        return f"cast({text} as {declared})"

    def text(self, column: RawColumn, value: str) -> str:
        """Return a column's canonical text."""
        if column.kind in ("time", "timestamp", "instant"):
            return f"epoch_us({value})::varchar"
        if column.kind == "float":
            wide = f"{value}::double"
            return (
                f"case when isnan({wide}) then 'nan' when isinf({wide}) then if({wide} > 0, 'inf', '-inf') "
                f"when {value} = 0 then '0' else printf('%.14e', {wide}) end"
            )
        if column.kind == "decimal" and column.precision == column.scale:
            # DuckDB leaves out the zero before the point when the type has no digit there.
            return rf"regexp_replace({value}::varchar, '^(-?)\.', '\10.')"
        return f"{value}::varchar"

    def key_text(self, column: RawColumn, value: str) -> str:
        """Return a text that PostgreSQL and DuckDB read back as the same value."""
        return f"{value}::varchar"

    def row_text(self, texts: Sequence[tuple[Kind, str]]) -> str:
        """Return one text of several columns' canonical texts."""
        return f"concat({', '.join(parts(texts, 'length({})'))})"

    def number(self, text: str) -> str:
        """Return the first 60 bits of a text's MD5 as a number."""
        return f"('0x' || substr(md5({text}), 1, 15))::bigint"

    def finite(self, column: RawColumn, value: str) -> str:
        """Return a condition that is true for values that are a point on their scale."""
        return f"isfinite({value})" if column.kind == "float" else "true"


class SnowflakeDialect:
    """Snowflake, from its documentation: parsed by the tests, never run by them."""

    name = "snowflake"

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises when the warehouse refuses something."""
        from snowflake.connector.errors import Error

        return (Error,)

    def literal(self, text: str | None) -> str:
        """Return a string literal; a backslash escapes in Snowflake."""
        return "null" if text is None else sql_string(text.replace("\\", "\\\\"))

    def cast(self, text: str, declared: str) -> str:
        """Return the value of a column's type that a text expression stands for."""
        head = re.sub(r"\(.*", "", declared.upper())
        if head in ("VARIANT", "ARRAY", "OBJECT"):
            return f"parse_json({text})" if head == "VARIANT" else f"cast(parse_json({text}) as {head})"
        return f"cast({text} as {declared})"

    def text(self, column: RawColumn, value: str) -> str:
        """Return a column's canonical text."""
        if column.kind in ("timestamp", "instant"):
            return f"to_varchar(date_part(epoch_microsecond, {value}))"
        if column.kind == "time":
            return f"to_varchar(datediff(microsecond, cast('00:00:00' as time), {value}))"
        if column.kind == "date":
            return f"to_varchar({value}, 'YYYY-MM-DD')"
        if column.kind == "float":
            formatted = f"lower(trim(to_varchar({value}, 'MI9.99999999999999EEEE')))"
            return (
                f"case when {value} = 'nan' then 'nan' when {value} = 'inf' then 'inf' "
                f"when {value} = '-inf' then '-inf' when {value} = 0 then '0' else {formatted} end"
            )
        if column.kind == "decimal":
            number = f"to_varchar(cast({value} as number(38, {column.scale})))"
            return rf"regexp_replace({number}, '^(-?)\\.', '\\10.')"
        return f"to_varchar({value})"

    def key_text(self, column: RawColumn, value: str) -> str:
        """Return a text that PostgreSQL and Snowflake read back as the same value."""
        formats = {"date": "YYYY-MM-DD", "time": "HH24:MI:SS.FF6", "timestamp": "YYYY-MM-DD HH24:MI:SS.FF6"}
        if column.kind == "instant":
            in_utc = f"cast(convert_timezone('UTC', {value}) as timestamp_ntz)"
            return f"to_varchar({in_utc}, 'YYYY-MM-DD HH24:MI:SS.FF6') || '+00:00'"
        if column.kind in formats:
            return f"to_varchar({value}, {sql_string(formats[column.kind])})"
        return f"to_varchar({value})"

    def row_text(self, texts: Sequence[tuple[Kind, str]]) -> str:
        """Return one text of several columns' canonical texts."""
        found = parts(texts, "to_varchar(length({}))")
        return " || ".join(part if part.startswith("'") else f"coalesce({part}, '')" for part in found)

    def number(self, text: str) -> str:
        """Return the first 60 bits of a text's MD5 as a number."""
        return f"to_number(substr(md5({text}), 1, 15), 'XXXXXXXXXXXXXXX')"

    def finite(self, column: RawColumn, value: str) -> str:
        """Return a condition that is true for values that are a point on their scale."""
        return f"{value} not in ('nan', 'inf', '-inf')" if column.kind == "float" else "true"


DUCKDB: Dialect = DuckDbDialect()
SNOWFLAKE: Dialect = SnowflakeDialect()


def describe(
    database: Database, dialect_name: str, schema: str, table: str
) -> tuple[str, str, list[RawColumn]] | None:
    """Return a table's schema and name as the warehouse spells them, and its columns; None if there is none.

    Names are looked up whatever their case: Airbyte writes them in upper case on Snowflake.
    """
    database.execute(
        # Not from `information_schema.tables`, for which DuckDB counts the rows of every table of the lake.
        "select distinct table_schema, table_name from information_schema.columns "
        "where upper(table_catalog) = upper(current_database()) "
        f"and upper(table_schema) = upper({sql_string(schema)}) "
        f"and upper(table_name) = upper({sql_string(table)})"
    )
    found = database.fetchall()
    if not found:
        return None
    schema, table = found[0][:2]
    database.execute(f"describe table {sql_name(schema, table)}")
    # Snowflake's FLOAT has 8 bytes, DuckDB's 4.
    wide = {"FLOAT": "DOUBLE"} if dialect_name == SNOWFLAKE.name else {}
    return schema, table, [RawColumn(row[0], wide.get(row[1], row[1])) for row in database.fetchall()]
