"""How a PostgreSQL column is read so that no value changes silently.

The rule, one for every sync, so that a column's type in the lake never depends on its rows:

- integers, floats, booleans, texts keep their type; `numeric(p,s)` with p <= 38 stays an exact DECIMAL(p,s);
- dates, times and timestamps keep their type;
- what DuckDB would change (bare or wider `numeric`, `money`, `interval`, `timetz`, network and geometric
  types, enums, ...) is cast to text by PostgreSQL itself; arrays and composites become JSON text there;
- a value that the type above cannot hold (numeric NaN, an infinite date, a year before 1 or after 9999,
  the time 24:00) becomes NULL, and `_airbyte_meta.changes` of its row says so, as Airbyte does it
  (https://docs.airbyte.com/platform/understanding-airbyte/airbyte-metadata-fields).

Columns of a primary key have to tell rows apart in the lake exactly as they do in PostgreSQL. So there a
value that would become NULL is refused, equal values get one text (1.0 and 1.00, one day and 24 hours), and
types for which that cannot be had (`fits_a_key`) are refused as a whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from lambda_csv_loader.ducklake import sql_name, sql_string

MAX_PRECISION = 38

_AS_IS = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "oid": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "bpchar": "VARCHAR",
    "json": "VARCHAR",
    "jsonb": "VARCHAR",
    "uuid": "VARCHAR",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}
_UNFIT = {
    "date": "({c} < '0001-01-01' or {c} > '9999-12-31')",
    "time": "{c} = '24:00'",
    "timestamp": "({c} < '0001-01-01' or {c} >= '10000-01-01')",
    "timestamptz": "({c} < '0001-01-01 00:00+00' or {c} >= '10000-01-01 00:00+00')",
    "numeric": "{c} = 'NaN'",
}
_WIDTH = {
    "BOOLEAN": 1,
    "SMALLINT": 2,
    "INTEGER": 4,
    "BIGINT": 8,
    "FLOAT": 4,
    "DOUBLE": 8,
    "DATE": 4,
    "TIME": 8,
    "TIMESTAMP": 8,
    "TIMESTAMP WITH TIME ZONE": 8,
}
# Types whose largest value is no point on their scale: such a row must not become the saved cursor.
_ENDLESS = {
    "date": "not isfinite({c})",
    "timestamp": "not isfinite({c})",
    "timestamptz": "not isfinite({c})",
    # As text: before version 14 PostgreSQL does not know an infinite numeric.
    "numeric": "{c}::text in ('NaN', 'Infinity', '-Infinity')",
    "float4": "{c} in ('NaN', 'Infinity', '-Infinity')",
    "float8": "{c} in ('NaN', 'Infinity', '-Infinity')",
}
# Types of which max() and >= exist, enums aside; a cursor needs both.
_ORDERED = {
    "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "money", "text", "varchar", "bpchar",
    "citext", "date", "time", "timetz", "timestamp", "timestamptz", "interval", "inet", "cidr", "pg_lsn",
}  # fmt: skip
# Types with equal values of different texts, or without equality, beside arrays, composites and geometry.
_MANY_TEXTS = {"json", "jsonb", "xml", "numrange", "nummultirange", "citext"}
# What gives equal values one text.
_ONE_TEXT = {"numeric": "trim_scale({c})", "interval": "justify_interval({c})"}


@dataclass(frozen=True)
class SourceColumn:
    """One column of a source table, domains resolved to their base type.

    Attributes:
        name: as PostgreSQL knows it, case kept.
        type_name: `pg_type.typname` of the base type, e.g. "numeric".
        type_category: `pg_type.typcategory`, "A" for arrays, "C" for composites.
        declared: as a person wrote it, e.g. "numeric(7,2)".
        precision: of a `numeric(p,s)`, else None.
        scale: of a `numeric(p,s)`, else None.
        not_null: whether PostgreSQL refuses NULL.
        position: `pg_attribute.attnum`, which a renamed column keeps and no later one gets again.
    """

    name: str
    type_name: str
    type_category: str
    declared: str
    precision: int | None
    scale: int | None
    not_null: bool
    position: int = 0

    @property
    def lake_type(self) -> str:
        """The type of this column in the lake."""
        if self.type_name == "numeric" and self._is_exact_decimal:
            return f"DECIMAL({self.precision},{self.scale})"
        if self.type_category in ("A", "C"):
            return "JSON"
        return _AS_IS.get(self.type_name, "VARCHAR")

    @property
    def needs_server_cast(self) -> bool:
        """Whether DuckDB's own reading of the type would change values."""
        if self.type_name == "numeric":
            return not self._is_exact_decimal
        return self.type_category in ("A", "C") or self.type_name not in _AS_IS

    @property
    def _is_exact_decimal(self) -> bool:
        precision, scale = self.precision, self.scale
        return precision is not None and scale is not None and 0 <= scale <= precision <= MAX_PRECISION

    @property
    def unfit(self) -> str | None:
        """A PostgreSQL condition that is true for values which `lake_type` cannot hold, if there are any."""
        if self.needs_server_cast or self.type_name not in _UNFIT:
            return None
        return _UNFIT[self.type_name].format(c=sql_name(self.name))

    @property
    def endless(self) -> str | None:
        """A PostgreSQL condition that is true for values which are no point on the scale (infinity, NaN)."""
        condition = _ENDLESS.get(self.type_name)
        return condition.format(c=sql_name(self.name)) if condition else None

    @property
    def fits_a_cursor(self) -> bool:
        """Whether PostgreSQL can tell the largest value of this type."""
        return self.type_category == "E" or self.type_name in _ORDERED

    @property
    def fits_a_key(self) -> bool:
        """Whether the lake tells values of this type apart exactly as PostgreSQL does."""
        return self.type_category not in ("A", "C", "G") and self.type_name not in _MANY_TEXTS

    def as_text(self, *, in_key: bool = False) -> str:
        """Return the PostgreSQL expression for the text of a value.

        Args:
            in_key: give equal values one text.
        """
        name = sql_name(self.name)
        if self.type_category in ("A", "C"):
            # Money as text depends on the server's locale.
            cast = "::numeric[]" if self.type_name == "_money" else ""
            return f"to_json({name}{cast})::text"
        if in_key and self.needs_server_cast and self.type_name in _ONE_TEXT:
            return f"{_ONE_TEXT[self.type_name].format(c=name)}::text"
        return f"{name}{'::numeric' if self.type_name == 'money' else ''}::text"

    def select(self, *, guarded: bool, in_key: bool = False) -> str:
        """Return the PostgreSQL expression that reads this column under its own name.

        Args:
            guarded: turn unfit values into NULL; not needed when none is among the rows read.
            in_key: give equal values one text.
        """
        name = sql_name(self.name)
        if self.needs_server_cast:
            return f"{self.as_text(in_key=in_key)} as {name}"
        if self.type_name == "oid":
            return f"{name}::bigint as {name}"
        if guarded and self.unfit:
            # CASE forgets a numeric's precision and scale, without which DuckDB reads a DOUBLE.
            kept = f"case when {self.unfit} then null else {name} end"
            cast = f"::numeric({self.precision},{self.scale})" if self.type_name == "numeric" else ""
            return f"({kept}){cast} as {name}"
        return name

    @property
    def bytes(self) -> str:
        """A DuckDB expression for the size of one value in bytes (0 for NULL text)."""
        width = _WIDTH.get(self.lake_type, 16 if self.lake_type.startswith("DECIMAL") else None)
        return str(width) if width else f"coalesce(strlen({sql_name(self.name)}::VARCHAR), 0)"


def changes_expression(columns: list[SourceColumn]) -> str:
    """Return the PostgreSQL expression for `_airbyte_meta.changes` of a row: a JSON list as text."""
    entries = [
        f"case when {column.unfit} then {sql_string(_change(column.name))} end"
        for column in columns
        if column.unfit
    ]
    return "'[' || concat_ws(',', " + ", ".join(entries) + ") || ']'" if entries else "'[]'"


def _change(field: str) -> str:
    return json.dumps({"field": field, "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"})
