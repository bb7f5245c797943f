"""One text for one value, in PostgreSQL: the same as `blocks.warehouse_dialects` makes of the replicated one.

What a column is compared as is decided by its type in the warehouse, so that a `numeric(7,2)` which a
destination keeps as NUMBER(38,9), or as FLOAT, is compared with what that type can hold. A value that the
type cannot hold arrived as NULL and is compared as NULL.

kind          text
boolean       true, false
integer       digits
decimal       digits with all the places of the warehouse's type
float         15 significant digits, nan, inf, -inf, 0 for both zeros
date          ISO
time, ...     microseconds since midnight or 1970, UTC
text, json    as it is, its length before it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from blocks.postgres_types import SourceColumn
from blocks.warehouse_dialects import Kind, RawColumn, parts
from lambda_csv_loader.ducklake import sql_name

# PostgreSQL's functions take at most 100 arguments.
_ARGUMENTS = 90
INTEGERS = ("int2", "int4", "int8", "oid")


@dataclass(frozen=True)
class ColumnPair:
    """A column of the source, what it is in the warehouse, and whether it is of the primary key."""

    source: SourceColumn
    raw: RawColumn
    in_key: bool = False

    @property
    def is_integer(self) -> bool:
        """Whether both sides can calculate with it."""
        return self.source.type_name in INTEGERS and self.raw.kind == "integer"

    @property
    def sql(self) -> str:
        """The column in the source, quoted."""
        return sql_name(self.source.name)

    @property
    def text(self) -> str:
        """Its canonical text in PostgreSQL."""
        return self._guarded(_TEXTS.get(self.raw.kind, _transported)(self))

    @property
    def transported(self) -> str:
        """The text that the warehouse casts to the column's type without loss."""
        return self._guarded(_transported(self))

    @property
    def value(self) -> str:
        """The column itself, NULL where the warehouse cannot hold its value."""
        return self._guarded(self.sql)

    def _guarded(self, expression: str) -> str:
        return f"case when {unfit} then null else {expression} end" if (unfit := self.unfit) else expression

    @property
    def unfit(self) -> str | None:
        """A PostgreSQL condition that is true for values that arrived as NULL, if there are any."""
        if self.source.type_name == "numeric" and self.raw.kind in ("decimal", "integer"):
            digits = self.raw.precision - self.raw.scale
            if (
                self.source.precision is not None
                and self.source.precision - (self.source.scale or 0) <= digits
            ):
                return f"{self.sql} = 'NaN'"
            return f"({self.sql} in ('NaN', 'Infinity', '-Infinity') or abs({self.sql}) >= 1e{digits})"
        return self.source.unfit


def row_text(texts: Sequence[tuple[Kind, str]]) -> str:
    """Return one text of several columns' canonical texts, unlike that of any other row."""
    found = parts(texts, "length({})")
    chunks = [found[i : i + _ARGUMENTS] for i in range(0, len(found), _ARGUMENTS)]
    return " || ".join(f"concat({', '.join(chunk)})" for chunk in chunks)


def number(text: str) -> str:
    """Return the first 60 bits of a text's MD5 as a number."""
    return f"('x' || substr(md5({text}), 1, 15))::bit(60)::bigint"


def _transported(pair: ColumnPair) -> str:
    column, name = pair.source, pair.sql
    if column.type_name == "oid":
        return f"{name}::bigint::text"
    if column.type_name in ("float4", "float8"):
        # "Infinity" is not a number to every warehouse, "inf" is.
        return f"replace({name}::text, 'Infinity', 'inf')"
    if column.type_name == "timestamptz":
        return f"to_char({name} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00'"
    return column.as_text(in_key=pair.in_key)


def _decimal(pair: ColumnPair) -> str:
    if pair.source.type_name == "numeric" and pair.source.scale == pair.raw.scale:
        return f"{pair.sql}::text"
    return f"round({pair.sql}::numeric, {pair.raw.scale})::text"


def _integer(pair: ColumnPair) -> str:
    return f"{pair.sql}::{'bigint' if pair.is_integer else 'numeric(1000,0)'}::text"


def _float(pair: ColumnPair) -> str:
    # Airbyte's destinations have no 4-byte float: it is the number that its shortest text says.
    is_widened = pair.source.type_name == "float4" and pair.raw.declared.upper() != "FLOAT"
    wide = f"{pair.sql}{'::text' if is_widened else ''}::float8"
    return (
        f"case when {wide} = 'NaN' then 'nan' when {wide} = 'Infinity' then 'inf' "
        f"when {wide} = '-Infinity' then '-inf' when {wide} = 0 then '0' "
        f"else trim(to_char({wide}, '9.99999999999999EEEE')) end"
    )


def _microseconds(pair: ColumnPair) -> str:
    return f"(extract(epoch from {pair.sql}) * 1000000)::bigint::text"


_TEXTS = {
    "integer": _integer,
    "decimal": _decimal,
    "float": _float,
    "time": _microseconds,
    "timestamp": _microseconds,
    "instant": _microseconds,
}
