"""Asking the warehouse: one statement per card answers all choices of its filters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Literal

from blocks.dashboard_definitions import Dashboard, QuestionCard
from blocks.dashboard_pages.choices import (
    CHOICES,
    Option,
    Query,
    Result,
    conditions_of,
    filters_of,
    relation,
)
from blocks.dashboard_queries import MARTS, ordering, render
from lambda_csv_loader.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from blocks.warehouse import Cursor

Cell = str | int | float | bool | None
Kind = Literal["number", "date", "datetime", "boolean", "text"]


class CardFailed(PermanentError):
    """The query of a card cannot run on the marts as they are."""


class CardUnanswered(TransientError):
    """The warehouse did not answer a card."""


@dataclass(frozen=True)
class Answer:
    """A card's answer for every choice.

    Attributes:
        columns: name and kind of each column.
        filters: the filters that the choices are made of; the last one counts fastest.
        choices: rows per choice; the first is "everything".
        seconds: how long the warehouse took.
    """

    columns: tuple[tuple[str, Kind], ...]
    filters: tuple[str, ...]
    choices: list[list[list[Cell]]]
    seconds: float

    def place_of(self, column: str) -> int:
        """Return where in a row a column stands."""
        return [name for name, _ in self.columns].index(column)

    def values_of(self, column: str) -> list[str]:
        """Return the distinct values of a column over all rows, in the order of the query."""
        place = self.place_of(column)
        rows = (row for rows in self.choices for row in rows)
        return [*dict.fromkeys(str(row[place]) for row in rows if row[place] is not None)]


def on_cursor(cursor: Cursor) -> Query:
    """Return a function that runs a statement on a cursor and returns all rows."""

    def query(sql: str) -> Result:
        cursor.execute(sql)
        # Snowflake answers in upper case what was written without quotes.
        return Result(tuple(str(each[0]).lower() for each in cursor.description), cursor.fetchall())

    return query


def remembering(query: Query) -> Query:
    """Return `query` with a memory: a statement that two cards share runs once."""
    known: dict[str, Result] = {}

    def remember(sql: str) -> Result:
        if sql not in known:
            known[sql] = query(sql)
        return known[sql]

    return remember


def newest(dashboard: Dashboard, query: Query) -> datetime | date | None:
    """Return the latest value of the column that dates a dashboard's data."""
    model, column = dashboard.data_as_of.split(".")
    try:
        [(value,)] = query(f"select max({column}) from {MARTS}.{model}").rows
    except Exception as error:
        raise card_error(dashboard, "data_as_of", error) from error
    return value if isinstance(value, date) else None


def ask(
    dashboard: Dashboard, card: QuestionCard, options: Mapping[str, Sequence[Option]], query: Query
) -> Answer:
    """Run a card's query for every choice of its filters.

    Raises:
        CardFailed: the query cannot run, or its answer lacks a column that the card draws.
        CardUnanswered: the connection was lost.
    """
    started = time.monotonic()
    try:
        filters = filters_of(card, options, query)
        result = query(_statement(dashboard, card, filters, options))
    except Exception as error:
        raise card_error(dashboard, card.key, error) from error
    seconds = time.monotonic() - started
    names = result.columns[1:]
    missing = missing_columns(card, names)
    if missing:
        raise CardFailed(
            f"Dashboard {dashboard.key!r}, card {card.key!r} (owner {dashboard.owner}): "
            f"the query does not return {', '.join(missing)}",
            next_command="floe dashboards check",
        )
    choices: list[list[list[Cell]]] = [[] for _ in range(prod(len(options[key]) for key in filters))]
    for choice, *cells in result.rows:
        choices[int(str(choice))].append([cell(each) for each in cells])
    columns = tuple((name, _kind(row[at + 1] for row in result.rows)) for at, name in enumerate(names))
    return Answer(columns, filters, choices, seconds)


def _statement(
    dashboard: Dashboard,
    card: QuestionCard,
    filters: Sequence[str],
    options: Mapping[str, Sequence[Option]],
) -> str:
    """Return one statement that answers a card for every combination of the filters' entries."""
    kinds = {each.key: each for each in dashboard.filters}
    sql = render(card.query, conditions_of(card, filters, kinds))
    order = ordering(card.query)
    terms = ", ".join(["floe_choice", *([order] if order else [])])
    if not filters:
        return f"select 0 as floe_choice, answer.* from ({sql}) as answer order by {terms}"
    return (
        f"select {CHOICES}.floe_choice, answer.* from {relation(filters, options)}, "
        f"lateral ({sql}) as answer order by {terms}"
    )


def missing_columns(card: QuestionCard, names: Sequence[str]) -> list[str]:
    """Return the columns that a card draws and its answer has not."""
    settings = card.visualization_settings
    wanted = dict.fromkeys([*settings.dimensions, *settings.metrics, *settings.column_settings])
    return [name for name in wanted if name not in names]


def card_error(dashboard: Dashboard, card: str, error: Exception) -> CardFailed | CardUnanswered:
    """Return the error to raise for what a driver raised: who must know, and whether to try again."""
    names = {base.__name__ for base in type(error).__mro__}
    what = (
        f"Dashboard {dashboard.key!r}, card {card!r} (owner {dashboard.owner}): "
        f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    )
    if names & {"OperationalError", "InterfaceError", "ConnectionError", "TimeoutError"}:
        return CardUnanswered(what, next_command="floe dashboards check, then the same run again")
    return CardFailed(what, next_command="floe dashboards check")


def cell(value: object) -> Cell:
    """Return a value as JSON has it, without losing a cent."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, datetime):
        # Marts hold UTC; without the Z a browser would take the reader's own time zone.
        utc = value.astimezone(UTC) if value.tzinfo else value
        return utc.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    return str(value)


def _kind(values: Any) -> Kind:
    for value in values:
        if value is None:
            continue
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, int | float | Decimal):
            return "number"
        if isinstance(value, datetime):
            return "datetime"
        return "date" if isinstance(value, date) else "text"
    return "text"
