"""Checks of the dashboards against the marts of dbt and of a warehouse, without reading a row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from blocks.dashboard_definitions import Dashboard, Filter, QuestionCard
from blocks.dashboard_pages.answers import CardFailed, card_error, missing_columns
from blocks.dashboard_pages.choices import Query
from blocks.dashboard_queries import MARTS, Condition, models_in, ordering, render


@dataclass(frozen=True)
class CheckedCard:
    """One card, and what is wrong with it."""

    dashboard: str
    card: str
    owner: str
    columns: tuple[str, ...]
    problem: str | None


def check_dashboards(dashboards: Sequence[Dashboard], query: Query) -> list[CheckedCard]:
    """Resolve every card's SQL on the marts, once with no filter set and once with all of them.

    Args:
        dashboards: what to check.
        query: runs a statement on the warehouse; it is asked for no rows.

    Raises:
        CardUnanswered: the warehouse does not answer.
    """
    checked = []
    for dashboard in dashboards:
        checked += [_check_field(dashboard, each, query) for each in _fields(dashboard)]
        checked += [_check_card(dashboard, card, query) for card in dashboard.questions]
    return checked


def require_no_problem(dashboards: Sequence[Dashboard], query: Query) -> None:
    """Check every card, and fail with all that is wrong.

    Raises:
        CardFailed: one or more cannot be answered; the message names each with its owner.
        CardUnanswered: the warehouse does not answer.
    """
    failed = [each for each in check_dashboards(dashboards, query) if each.problem]
    if failed:
        named = "; ".join(
            f"{each.dashboard} / {each.card} (owner {each.owner}): {each.problem}" for each in failed
        )
        raise CardFailed(
            f"{len(failed)} part(s) of the dashboards do not fit the marts: {named}",
            state="the dashboards are as they were",
            next_command="floe dashboards check",
        )


def check_marts(dashboards: Sequence[Dashboard], marts: Collection[str]) -> list[CheckedCard]:
    """Return the parts of the dashboards that read a mart which dbt does not build (any more).

    The warehouse cannot tell: it keeps the mart until the next build.

    Args:
        dashboards: what to check.
        marts: the names of all marts.
    """
    return [
        CheckedCard(dashboard.key, name, str(dashboard.owner), (), f"dbt has no mart {', '.join(missing)}")
        for dashboard in dashboards
        for name, read in marts_read(dashboard)
        if (missing := [mart for mart in read if mart not in marts])
    ]


def marts_read(dashboard: Dashboard) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each part of a dashboard that asks the warehouse something, and the marts that it reads."""
    for each in _fields(dashboard):
        yield each.name, (each.field.split(".")[0],)
    for card in dashboard.questions:
        yield card.key, models_in(card.query)


@dataclass(frozen=True)
class _FieldCheck:
    name: str
    field: str


def _fields(dashboard: Dashboard) -> list[_FieldCheck]:
    filters = [_FieldCheck(f"filter {each.key}", each.field) for each in dashboard.filters]
    return [*filters, _FieldCheck("data_as_of", dashboard.data_as_of)]


def _check_field(dashboard: Dashboard, field: _FieldCheck, query: Query) -> CheckedCard:
    model, column = field.field.split(".")
    return _checked(dashboard, field.name, f"select {column} from {MARTS}.{model} limit 0", query)


def _check_card(dashboard: Dashboard, card: QuestionCard, query: Query) -> CheckedCard:
    filters = {each.key: each for each in dashboard.filters}
    conditions = {tag: _some_choice(card, filters[tag]) for tag in card.template_tags}
    order = ordering(card.query)
    ordered = f" order by {order}" if order else ""
    checked = CheckedCard(dashboard.key, card.key, str(dashboard.owner), (), None)
    for chosen in ({}, conditions):
        sql = f"select * from ({render(card.query, chosen)}) as answer{ordered} limit 0"
        checked = _checked(dashboard, card.key, sql, query)
        if checked.problem:
            return checked
    missing = missing_columns(card, checked.columns)
    problem = f"the query does not return {', '.join(missing)}" if missing else None
    return CheckedCard(dashboard.key, card.key, str(dashboard.owner), checked.columns, problem)


def _checked(dashboard: Dashboard, name: str, sql: str, query: Query) -> CheckedCard:
    try:
        columns, problem = query(sql).columns, None
    except Exception as error:
        failure = card_error(dashboard, name, error)
        if not isinstance(failure, CardFailed):
            raise failure from error
        columns, problem = (), " ".join(str(error).split())
    return CheckedCard(dashboard.key, name, str(dashboard.owner), columns, problem)


def _some_choice(card: QuestionCard, one: Filter) -> Condition:
    field = card.template_tags[one.key].dimension
    if one.type == "date/all-options":
        return Condition(f"cast({field} as date) between date '2000-01-01' and date '2000-12-31'")
    return Condition(f"{field} = 'any'" if field else "'any'")
