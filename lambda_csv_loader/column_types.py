"""The column types of a contract: how a value must be spelt and what it becomes.

pyarrow converts, but accepts more than it should (`0x10`, `+1.5`, `nan`), so each type also has a
pattern. https://arrow.apache.org/docs/python/csv.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import pyarrow as pa

_DECIMAL = re.compile(r"(?:decimal|numeric|number)\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_VARCHAR = re.compile(r"varchar(?:\(\s*(\d+)\s*\))?")
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_SIMPLE: dict[str, tuple[pa.DataType, str]] = {
    "integer": (pa.int32(), r"^-?[0-9]+$"),
    "bigint": (pa.int64(), r"^-?[0-9]+$"),
    "double": (pa.float64(), r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"),
    "boolean": (pa.bool_(), r"^(?i:true|false|1|0)$"),
    "date": (pa.date32(), rf"^{_DAY}$"),
    "timestamp": (pa.timestamp("us"), rf"^{_DAY}{_CLOCK}$"),
    "timestamptz": (pa.timestamp("us", "UTC"), rf"^{_DAY}{_CLOCK}(Z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$"),
}
_ALIASES = {"int": "integer", "int8": "bigint", "int4": "integer", "text": "varchar", "string": "varchar"}
NAMES = (*_SIMPLE, "decimal(p,s)", "varchar", "varchar(n)")


@dataclass(frozen=True)
class ColumnType:
    """A parsed type.

    Attributes:
        declared: its normal spelling; also the SQL type in both warehouses.
        arrow: what pyarrow converts the text to.
        pattern: RE2 pattern of the texts accepted; None for text.
        max_length: of text, in characters; None for unbounded.
    """

    declared: str
    arrow: pa.DataType
    pattern: str | None = None
    max_length: int | None = None

    @classmethod
    @cache
    def parse(cls, text: str) -> ColumnType:
        """Parse a declared type.

        Raises:
            ValueError: the type is not known.
        """
        name = text.strip().lower()
        name = _ALIASES.get(name, name)
        if name in _SIMPLE:
            arrow, pattern = _SIMPLE[name]
            return cls(name, arrow, pattern)
        if found := _DECIMAL.fullmatch(name):
            precision, scale = int(found[1]), int(found[2])
            if not 0 < precision <= 38 or scale > precision:
                raise ValueError(f"{text}: the precision must be 1 to 38 and the scale at most the precision")
            return cls(f"decimal({precision},{scale})", pa.decimal128(precision, scale), _NUMBER)
        if found := _VARCHAR.fullmatch(name):
            return cls(name, pa.string(), None, int(found[1]) if found[1] else None)
        raise ValueError(f"unknown type {text!r}; known: {', '.join(NAMES)}")

    @property
    def is_text(self) -> bool:
        """Tell whether values are taken as they are."""
        return self.pattern is None

    @property
    def is_whole(self) -> bool:
        """Tell whether this is a whole number, for which a cheaper check exists."""
        return bool(pa.types.is_integer(self.arrow))


def bound_of(bound: Decimal | str, kind: pa.DataType) -> pa.Scalar:
    """Return a declared bound as a value of the column's type.

    Raises:
        pa.ArrowInvalid: the bound is not of that type.
    """
    if pa.types.is_integer(kind):
        return pa.scalar(int(Decimal(bound)), pa.int64())
    if pa.types.is_floating(kind):
        return pa.scalar(float(bound), kind)
    return pa.scalar(str(bound), pa.string()).cast(kind)
