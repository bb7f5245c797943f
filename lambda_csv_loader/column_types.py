"""The column types of a contract: how a value must be spelt and what it becomes.

pyarrow converts, but accepts more than it should (`0x10`, `+1.5`, `nan`), so each type also has a
pattern. https://arrow.apache.org/docs/python/csv.html
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

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
# Days since 1970 of 0001-01-01 and of the day after 9999-12-31.
_FIRST_DAY, _END_DAY = -719_162, 2_932_897
_DAY_US = 86_400_000_000
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
        ValueError: the bound is not of that type.
    """
    if pa.types.is_boolean(kind):
        raise ValueError("a boolean has no minimum or maximum")
    try:
        if pa.types.is_integer(kind):
            return _whole(Decimal(bound))
        if pa.types.is_floating(kind):
            return _finite(float(bound), kind)
    except (ArithmeticError, ValueError):
        raise ValueError(f"{bound} is not of type {kind}") from None
    return pa.scalar(str(bound), pa.string()).cast(kind)


def _whole(bound: Decimal) -> pa.Scalar:
    if bound != int(bound) or abs(bound) >= 2**63:
        raise ValueError
    return pa.scalar(int(bound), pa.int64())


def _finite(bound: float, kind: pa.DataType) -> pa.Scalar:
    if not math.isfinite(bound):
        raise ValueError
    return pa.scalar(bound, kind)


def outside(values: pa.Array) -> pa.Array | None:
    """Return where converted values are none that a warehouse and Python know; None where all are.

    `1e400` becomes infinite without a word, and dates may lie in the year 0 or 10000.
    """
    kind = values.type
    if pa.types.is_floating(kind):
        strange = pc.invert(pc.is_finite(values))
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        number = values.cast(pa.int32() if pa.types.is_date(kind) else pa.int64())
        first, end = (day * (1 if pa.types.is_date(kind) else _DAY_US) for day in (_FIRST_DAY, _END_DAY))
        strange = pc.or_(pc.less(number, first), pc.greater_equal(number, end))
    else:
        return None
    return strange if pc.any(strange).as_py() else None
