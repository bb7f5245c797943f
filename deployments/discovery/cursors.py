"""Which column could be a stream's cursor, and why.

A cursor must grow with every change of a row. PostgreSQL does not say so of any column; what counts as
evidence is a trigger that sets it before updates, then its name. A column without either is named, never
chosen: a cursor that stands still loses changes without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from blocks.postgres_types import SourceColumn
from deployments.discovery.catalog import FoundTable, Trigger
from deployments.discovery.names import is_change_time, is_creation_time, says_time

# Position: the better grain first. Numbers that a trigger draws from a sequence stand between times and days.
_GRAINS = {"timestamptz": 0, "timestamp": 1, "int8": 2, "int4": 2, "int2": 2, "date": 3}
_DRAWN = re.compile(r"nextval|txid_|pg_current_xact_id|clock_timestamp|extract\s*\(", re.IGNORECASE)
_BRANCHES = re.compile(r"\b(?:if|case|elsif|coalesce|return\s+old)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """A column that could be the cursor.

    Attributes:
        column: the column.
        role: "change" if it grows with every change of the row, "growth" if it grows with every new row
            only, "none" if it must not be the cursor.
        refusal: why it must not, None for the other roles.
        reasons: for and against it.
        warnings: what whoever takes it must know.
        rank: the smaller, the better.
    """

    column: SourceColumn
    role: Literal["change", "growth", "none"]
    refusal: str | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    rank: tuple[int, ...]


def candidates(found: FoundTable) -> list[Candidate]:
    """Return every column that a person might think of as the cursor, best first."""
    columns = found.table.columns if found.table else []
    named = (_candidate(found, column, position) for position, column in enumerate(columns))
    return sorted((one for one in named if one), key=lambda one: one.rank)


def maintaining_trigger(found: FoundTable, column: str) -> Trigger | None:
    """Return the trigger that sets a column whenever a row is updated."""
    return next((trigger for trigger in found.triggers if _sets(trigger, column)), None)


def _sets(trigger: Trigger, column: str) -> bool:
    """Whether the function assigns the column, or is told or names it as a text (moddatetime, hstore)."""
    if column in trigger.arguments:
        return True
    name = re.escape(column)
    # Unquoted, PostgreSQL folds to lower case; only a column of that form can be meant.
    spelled = rf'"{name}"' + (rf"|(?i:{name})\b" if column == column.lower() else "")
    for value in re.findall(rf"(?i:new)\s*\.\s*(?:{spelled})\s*:?=([^;]*)", trigger.code):
        # Giving it back its old value is how a column is kept from changing.
        if not re.fullmatch(rf"\s*(?i:old)\s*\.\s*(?:{spelled})\s*", value):
            return True
    return bool(re.search(rf"(?i:into)\s+(?i:new)\s*\.\s*(?:{spelled})|'{name}'", trigger.code))


def _candidate(found: FoundTable, column: SourceColumn, position: int) -> Candidate | None:
    grain = _GRAINS.get(column.type_name)
    if grain is None:
        return None
    trigger = maintaining_trigger(found, column.name)
    is_number = column.type_name.startswith("int")
    named = is_change_time(column.name, found.name) and (not is_number or says_time(column.name))
    if is_number and not (trigger or named or column.name in found.growing):
        return None
    refusal = _refusal(found, column, trigger, named=named)
    grows = is_number and not (trigger or named)
    reasons, warnings = _reasons(found, column, trigger, grows=grows)
    indexed = column.name in found.leading
    rank = (
        2 if refusal else int(grows),
        int(trigger is None),
        grain,
        int(not named),
        int(not indexed),
        int(not column.not_null),
        position,
    )
    if refusal:
        return Candidate(column, "none", refusal, reasons, (), rank)
    return Candidate(column, "growth" if grows else "change", None, reasons, warnings, rank)


def _refusal(found: FoundTable, column: SourceColumn, trigger: Trigger | None, *, named: bool) -> str | None:
    if column.name in found.generated:
        return "computed from other columns"
    if not named and (reason := _no_change_time(column, trigger)):
        return reason
    share = found.null_share(column.name)
    filled = column.name in found.defaults or (trigger is not None and trigger.on_insert)
    if share and not filled:
        return f"null in {share:.0%} of the rows, which only the first sync would read"
    return None


def _no_change_time(column: SourceColumn, trigger: Trigger | None) -> str | None:
    """Return why a column whose name does not speak for it is no change time."""
    is_number = column.type_name.startswith("int")
    if is_creation_time(column.name) and not is_number:
        return "a time of creation, later changes of the row would not be seen"
    if trigger is None:
        return None if is_number else "neither a trigger nor the name says that it changes with the row"
    if trigger.is_limited or trigger.is_conditional or _BRANCHES.search(trigger.code):
        return f"trigger {trigger.name} does not set it with every update"
    if is_number and not _DRAWN.search(trigger.code):
        return f"trigger {trigger.name} counts per row"
    return None


def _reasons(
    found: FoundTable, column: SourceColumn, trigger: Trigger | None, *, grows: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reasons, warnings = [_type_name(column)], []
    if trigger:
        reasons.append(f"set by trigger {trigger.name}")
        if trigger.is_limited:
            warnings.append(f"trigger {trigger.name} runs only when certain columns are updated")
    elif grows:
        reasons.append("from a sequence")
        warnings.append(f"{column.name} grows with new rows only: later changes of a row are missed")
    else:
        reasons.append("set by the application, no trigger")
    reasons.append("indexed" if column.name in found.leading else "not indexed")
    reasons.append("never null" if column.not_null else "nullable")
    if not column.not_null and not (trigger and trigger.on_insert):
        warnings.append(f"{column.name} is nullable: rows without it are read by the first sync only")
    if column.type_name == "date":
        reasons.append("day-grained")
        warnings.append(f"{column.name} is a day: every sync reads the rows of its last day again")
    if column.type_name == "timestamp":
        reasons.append("no time zone, and local time repeats an hour in autumn")
    return tuple(reasons), tuple(warnings)


def _type_name(column: SourceColumn) -> str:
    return {"int8": "bigint", "int4": "integer", "int2": "smallint"}.get(column.type_name, column.type_name)
