"""Numbers and dates as people read them, where no browser writes them.

The pages let the browser write (`figures.js`, by `Intl.NumberFormat` for en-US); what is drawn without a
browser is written here, the same to the letter: `tests/blocks/test_figures.py` compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Literal

from blocks.dashboard_definitions import ColumnSettings
from blocks.dashboard_pages.answers import Cell, Kind

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS_IN = {"month": 1, "quarter": 3, "year": 12}
_SHORT = ((12, "T"), (9, "B"), (6, "M"), (3, "K"), (0, ""))
_LARGE = 100_000
_SIGNIFICANT = 4


@dataclass(frozen=True)
class Change:
    """How a figure differs from an earlier one.

    Attributes:
        direction: empty where nothing changed.
        size: in words: `3.4%`, `1.2 points`, `no change`.
        tone: whether that is welcome.
    """

    direction: Literal["up", "down", ""]
    size: str
    tone: Literal["good", "bad", ""]


def number(value: float, settings: ColumnSettings, short: bool = False) -> str:
    """Return a number as its column says, or short (`$1.235M`)."""
    # A whole number too is what it is in JavaScript.
    exact = Decimal(repr(float(value)))
    if settings.number_style == "percent":
        exact *= 100
    if short:
        digits = _shortened(exact)
    else:
        least, most = _decimals(settings)
        digits = _rounded(exact, least, most)
    sign = "-" if digits.startswith("-") else ""
    body = digits.removeprefix("-")
    if settings.number_style == "percent":
        body += "%"
    elif settings.number_style == "currency":
        body = _currency(settings.currency)[0] + body
    return sign + body + settings.suffix


def shown(value: float, settings: ColumnSettings) -> str:
    """Return a figure that stands alone: a large one is written short."""
    return number(value, settings, short=settings.number_style != "percent" and abs(value) >= _LARGE)


def day(value: str, settings: ColumnSettings) -> str:
    """Return a day of the answer as its unit asks: `2 Jan 2003`, `Jan 2003`, `Q1 2003`, `2003`."""
    when, unit = date.fromisoformat(value[:10]), settings.temporal_unit
    if unit == "year":
        return str(when.year)
    if unit == "quarter":
        return f"Q{(when.month + 2) // 3} {when.year}"
    month = f"{_MONTHS[when.month - 1]} {when.year}"
    return month if unit == "month" else f"{when.day} {month}"


def written(value: Cell, kind: Kind, settings: ColumnSettings) -> str:
    """Return a cell of an answer as a table shows it."""
    if value is None:
        return "–"
    if kind == "boolean":
        return "Yes" if value else "No"
    if kind == "number" and isinstance(value, int | float):
        return number(value, settings)
    return day(str(value), settings) if kind in ("date", "datetime") else str(value)


def earlier(value: str, settings: ColumnSettings, count: int) -> str:
    """Return the day that lies `count` units of the column before a day of the answer."""
    when, unit = date.fromisoformat(value[:10]), settings.temporal_unit
    if unit in ("day", "week"):
        return str(when - timedelta(days=count * (7 if unit == "week" else 1)))
    year, month = divmod(when.year * 12 + when.month - 1 - count * _MONTHS_IN[unit], 12)
    return str(date(year, month + 1, 1) + timedelta(days=when.day - 1))


def change(now: float, then: float, settings: ColumnSettings, fall_is_good: bool) -> Change:
    """Return how `now` differs from `then`; shares differ by points, other figures by a share."""
    by = now - then
    if by == 0:
        return Change("", "no change", "")
    if settings.number_style == "percent":
        size = f"{_rounded(Decimal(abs(by * 100)), 1, 1).replace(',', '')} points"
    elif then > 0:
        size = f"{_rounded(Decimal(repr(float(abs(by / then)))) * 100, 0, 1)}%"
    else:
        size = number(abs(by), settings)
    return Change("up" if by > 0 else "down", size, "good" if (by > 0) != fall_is_good else "bad")


def _decimals(settings: ColumnSettings) -> tuple[int, int]:
    """Return the fewest and the most digits after the point."""
    if settings.decimals is not None:
        return settings.decimals, settings.decimals
    if settings.number_style == "percent":
        return 1, 1
    if settings.number_style == "currency":
        return (_currency(settings.currency)[1],) * 2
    return 0, 2


@cache
def _currency(code: str) -> tuple[str, int]:
    """Return how a currency is written before a number, and its digits after the point."""
    from babel.numbers import get_currency_precision, get_currency_symbol

    symbol = get_currency_symbol(code, "en_US")
    return symbol + ("\N{NO-BREAK SPACE}" if symbol[-1].isalpha() else ""), get_currency_precision(code)


def _rounded(value: Decimal, least: int, most: int) -> str:
    text = f"{value.quantize(Decimal(1).scaleb(-most), ROUND_HALF_UP):,f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction[:least] + fraction[least:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _shortened(value: Decimal) -> str:
    """Return at most four digits that count, with the letter for thousands and more."""
    if value:
        value = value.quantize(Decimal(1).scaleb(value.adjusted() + 1 - _SIGNIFICANT), ROUND_HALF_UP)
    power, letter = next((p, letter) for p, letter in _SHORT if value.adjusted() >= p or p == 0)
    return _rounded(value.scaleb(-power), 0, _SIGNIFICANT) + letter
