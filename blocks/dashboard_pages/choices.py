"""What a reader can choose in a filter of the preview, and how a choice reads in SQL.

The preview has no server behind it, so every choice that it offers is answered when the page is
rendered. That is exact for any query (ratios, distinct counts, windows), because the warehouse
itself computed each number; the price is one choice per filter, and fixed periods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from math import prod
from typing import NamedTuple

from blocks.dashboard_definitions import Filter, QuestionCard
from blocks.dashboard_queries import MARTS, Condition, models_in

MOST_VALUES = 100
MOST_CHOICES = 1000
# Rows of the marts times choices that one card may cost: about a second on two cores.
MOST_WORK = 40_000_000
CHOICES = "floe_choices"


class Result(NamedTuple):
    """The answer to one statement: the column names and the rows."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


Query = Callable[[str], Result]


@dataclass(frozen=True)
class Option:
    """One entry of a filter's list.

    Attributes:
        label: what the reader sees.
        value: what stands in the page's address, in Metabase's notation.
        bounds: SQL literals: one for a value, two (first and last day) for a period; none for "all".
    """

    label: str
    value: str
    bounds: tuple[str, ...] = ()


def options_of(one: Filter, query: Query, as_of: date) -> tuple[Option, ...]:
    """Return the entries of a filter, "all" first; only "all" where there is no choice, or too much."""
    model, column = one.field.split(".")
    table = f"{MARTS}.{model}"
    everything = Option("All dates" if one.type == "date/all-options" else "All", "")
    if one.type == "date/all-options":
        [(first, last)] = query(f"select min({column}), max({column}) from {table}").rows
        return (everything, *periods(_day(first), _day(last), as_of)) if first else (everything,)
    values = query(
        f"select distinct {column} from {table} where {column} is not null "
        f"order by {column} limit {MOST_VALUES + 1}"
    ).rows
    if not 1 < len(values) <= MOST_VALUES:
        return (everything,)
    return (everything, *(Option(str(value), str(value), (_text(value),)) for (value,) in values))


def periods(first: date, last: date, as_of: date) -> tuple[Option, ...]:
    """Return the periods to choose from: two that end today, then every year, the newest first."""
    today = min(last, as_of)
    recent = [
        (f"Last {months} months to {today.day} {today:%b %Y}", months_before(today, months), today)
        for months in (3, 12)
    ]
    years = [
        (str(year), date(year, 1, 1), date(year, 12, 31)) for year in range(last.year, first.year - 1, -1)
    ]
    return tuple(
        Option(label, f"{start}~{end}", (f"date '{start}'", f"date '{end}'"))
        for label, start, end in [*recent, *years]
    )


def months_before(day: date, months: int) -> date:
    """Return the day after the same day of the month, `months` earlier: the start of a whole period."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    length = (date(year + (month == 11), (month + 1) % 12 + 1, 1) - date(year, month + 1, 1)).days
    return date(year, month + 1, min(day.day, length)) + timedelta(days=1)


def filters_of(card: QuestionCard, options: Mapping[str, Sequence[Option]], query: Query) -> tuple[str, ...]:
    """Return the filters that the preview applies to a card: the first ones that the work allows.

    Args:
        card: its template tags say which filters it takes.
        options: the entries of the dashboard's filters.
        query: asked for the size of the marts that the card reads.
    """
    wanted = [key for key, entries in options.items() if key in card.template_tags and len(entries) > 1]
    counts = [query(f"select count(*) from {MARTS}.{model}").rows[0][0] for model in models_in(card.query)]
    most = min(MOST_CHOICES, MOST_WORK // max(1, sum(int(str(count)) for count in counts)))
    chosen: list[str] = []
    for key in wanted:
        if prod(len(options[each]) for each in [*chosen, key]) <= most:
            chosen.append(key)
    return tuple(chosen)


def relation(filters: Sequence[str], options: Mapping[str, Sequence[Option]]) -> str:
    """Return a relation with one row per combination of entries, numbered as the page counts them."""
    columns, rows = ["choice"], []
    widths = [2 if any(len(entry.bounds) == 2 for entry in options[key]) else 1 for key in filters]
    for key, width in zip(filters, widths, strict=True):
        columns += [f"{key}_first", f"{key}_last"] if width == 2 else [key]
    for number, entries in enumerate(product(*(options[key] for key in filters))):
        cells = [str(number)]
        for entry, width in zip(entries, widths, strict=True):
            nothing = "cast(null as date)" if width == 2 else "cast(null as varchar)"
            cells += entry.bounds or [nothing] * width
        rows.append(f"({', '.join(cells)})")
    return f"(values {', '.join(rows)}) as {CHOICES} ({', '.join(_column(each) for each in columns)})"


def conditions_of(
    card: QuestionCard, filters: Sequence[str], kinds: Mapping[str, Filter]
) -> dict[str, Condition]:
    """Return what each tag of a card becomes where the choice is a row of the relation."""
    conditions = {}
    for key in filters:
        field = card.template_tags[key].dimension
        if kinds[key].type == "date/all-options":
            first, last = (f"{CHOICES}.{_column(f'{key}_{end}')}" for end in ("first", "last"))
            conditions[key] = Condition(
                f"cast({field} as date) between {first} and {last}", f"{first} is null"
            )
        else:
            value = f"{CHOICES}.{_column(key)}"
            conditions[key] = Condition(f"{field} = {value}" if field else value, f"{value} is null")
    return conditions


def _column(name: str) -> str:
    # A prefix, so that a name which a query misspells can never mean a column of the choices.
    return f"floe_{name}"


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _day(value: object) -> date:
    return value if type(value) is date else date.fromisoformat(str(value)[:10])
