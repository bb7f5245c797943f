"""The query language of the dashboards: SQL with dbt references and Metabase's template tags.

`{{ ref('fct_sales') }}` names a mart, `{{tag}}` takes a filter's value, `[[and ... {{tag}}]]` is dropped
when the filter is not set (https://www.metabase.com/docs/latest/questions/native-editor/optional-variables).
Pure text: nothing here talks to a warehouse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MARTS = "marts"

_REF = re.compile(r"\{\{\s*ref\(\s*'([a-z][a-z0-9_]*)'\s*\)\s*\}\}")
_TAG = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")
_CLAUSE = re.compile(r"\[\[\s*(.*?)\s*\]\]", re.DOTALL)
_ORDERING = re.compile(r"\border\s+by\s+([^()]+?)(?:\s+limit\s+\d+)?\s*$", re.IGNORECASE)
_ORDER_TERM = re.compile(r"[a-z][a-z0-9_]*(\s+(asc|desc))?(\s+nulls\s+(first|last))?", re.IGNORECASE)
_ANY_BRACES = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\[\[|\]\]", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """What a template tag becomes in SQL.

    Attributes:
        sql: a condition (field filter) or a value (plain variable).
        unset: a condition that is true where the filter is not set.
    """

    sql: str
    unset: str = "false"


def models_in(query: str) -> tuple[str, ...]:
    """Return the marts that a query reads, sorted."""
    return tuple(sorted(set(_REF.findall(query))))


def tags_in(query: str) -> tuple[str, ...]:
    """Return the template tags of a query, in order of first use."""
    return tuple(dict.fromkeys(_TAG.findall(query)))


def tags_outside_clauses(query: str) -> tuple[str, ...]:
    """Return the tags that are not in an optional clause."""
    return tags_in(_CLAUSE.sub("", query))


def ordering(query: str) -> str | None:
    """Return the terms of the query's last `order by`, or None when it has none.

    Raises:
        ValueError: a term is not a plain column of the answer, so the order could not be told from
            outside the query.
    """
    tail = query.strip().rstrip(";")
    # Only the outermost query counts: what stands in parentheses is another query or a window.
    while (flat := re.sub(r"\([^()]*\)", "", tail)) != tail:
        tail = flat
    found = re.search(r"\border\s+by\b", tail, re.IGNORECASE)
    if not found:
        return None
    terms = _ORDERING.search(query.strip().rstrip(";"))
    if terms is None or not all(_ORDER_TERM.fullmatch(term.strip()) for term in terms[1].split(",")):
        raise ValueError("order by must name plain columns of the answer, not expressions or numbers")
    return " ".join(terms[1].split())


def problems_of(query: str) -> list[str]:
    """Return what is wrong with a query's own syntax: unknown braces, clauses, its order."""
    problems = []
    rest = _CLAUSE.sub(r"\1", _TAG.sub("", _REF.sub("", query)))
    problems += [f"cannot read {found!r}" for found in _ANY_BRACES.findall(rest)]
    for clause in _CLAUSE.findall(query):
        if not tags_in(clause):
            problems.append(f"the optional clause [[{clause}]] has no template tag")
        if not re.match(r"and\b", clause, re.IGNORECASE):
            problems.append(f"the optional clause [[{clause}]] must begin with `and`")
    if not models_in(query):
        problems.append("the query reads no mart: name one as {{ ref('model') }}")
    try:
        ordering(query)
    except ValueError as error:
        problems.append(str(error))
    return problems


def render(query: str, conditions: Mapping[str, Condition] | None = None, schema: str = MARTS) -> str:
    """Return plain SQL.

    Args:
        query: the card's query.
        conditions: what each tag becomes; a tag that is missing is a filter that is not set.
        schema: where the marts are.
    """
    conditions = conditions or {}

    def clause(match: re.Match[str]) -> str:
        tags = tags_in(match[1])
        if any(tag not in conditions for tag in tags):
            return ""
        rest = re.sub(r"^and\b", "", _TAG.sub(_sql_of(conditions), match[1]), flags=re.IGNORECASE)
        unset = " or ".join(conditions[tag].unset for tag in tags)
        return f"and ({unset} or ({rest.strip()}))"

    def bare(match: re.Match[str]) -> str:
        condition = conditions.get(match[1])
        return f"({condition.unset} or {condition.sql})" if condition else "1 = 1"

    return _TAG.sub(bare, _CLAUSE.sub(clause, with_marts_in(query, schema)))


def with_marts_in(query: str, schema: str) -> str:
    """Return a query as Metabase takes it: marts by their schema, tags and optional clauses as they are."""
    return _REF.sub(lambda match: f"{schema}.{match[1]}", query.strip().rstrip(";"))


def _sql_of(conditions: Mapping[str, Condition]) -> Callable[[re.Match[str]], str]:
    return lambda match: conditions[match[1]].sql
