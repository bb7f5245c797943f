"""How each table is proposed to be replicated: key, cursor, mode, and what its reader must know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from deployments.connection import SyncMode
from deployments.discovery.address import grant
from deployments.discovery.catalog import FoundTable
from deployments.discovery.cursors import Candidate, candidates

# Up to here a full refresh costs little and misses nothing.
SMALL_ROWS = 100_000
# From here it is worth a change to the table.
LARGE_ROWS = 1_000_000
_ADVICE = (
    "give it an updated_at timestamptz that a trigger sets before insert or update, with an index, "
    "or let Airbyte's source use xmin"
)
_WITHOUT_KEY = (
    "no primary key and no unique index over columns that are never null: every sync reads it as a whole; "
    "better give it a key"
)
_SHOWN_CANDIDATES = 3
_RESERVED_TABLES = "__floe_"
_RESERVED_COLUMNS = "_airbyte_"


@dataclass(frozen=True)
class Stream:
    """A proposal for one table.

    Attributes:
        namespace: the table's schema.
        name: the table's name.
        sync_mode: as `StreamDeclaration` wants it.
        cursor: the column, None for full refreshes.
        primary_key: empty when there is none.
        columns: those to be replicated; None for all.
        rows: the estimate, None when unknown.
        notes: the reasons, for comments.
        warnings: what may lose or double rows or cost much.
    """

    namespace: str
    name: str
    sync_mode: SyncMode
    cursor: str | None = None
    primary_key: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    rows: int | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A table that is not proposed.

    Attributes:
        namespace: the table's schema.
        name: the table's name.
        reason: why.
        remedy: what would change that.
        stream: what could be declared nevertheless.
        is_warning: whether somebody may miss it.
    """

    namespace: str
    name: str
    reason: str
    remedy: str = ""
    stream: Stream | None = None
    is_warning: bool = False


@dataclass(frozen=True)
class Proposal:
    """Everything that was found in a database, divided.

    Attributes:
        streams: to be replicated.
        left_out: not to be replicated.
    """

    streams: list[Stream] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def namespaces(self) -> list[str]:
        """The schemas of the streams."""
        return sorted({stream.namespace for stream in self.streams})


def propose(tables: Iterable[FoundTable], user: str) -> Proposal:
    """Divide the tables into streams and what is left out.

    Args:
        tables: of one database.
        user: who reads them, for the `grant` of those that cannot be read.
    """
    proposal = Proposal()
    taken: dict[tuple[str, str], Stream] = {}
    for found in tables:
        made = _left_out(found, user) or _stream(found)
        if isinstance(made, Stream):
            # A schema's name becomes part of the raw schema's.
            place = (folded(made.namespace), folded(made.name))
            if place in taken:
                made = _collision(made, taken[place])
            else:
                taken[place] = made
        if isinstance(made, Stream):
            proposal.streams.append(made)
        else:
            proposal.left_out.append(made)
    return proposal


def folded(name: str) -> str:
    """Return what is equal for names that one warehouse or another takes for the same."""
    return name.lower().upper().casefold()


def _left_out(found: FoundTable, user: str) -> LeftOut | None:
    out = LeftOut(found.schema, found.name, "")
    if not found.readable:
        remedy = grant(user, found.schema, found.name)
        return replace(out, reason=f"{user} may not read it", remedy=remedy, is_warning=True)
    if found.table is None:
        return replace(out, reason="it has no column")
    if folded(found.name).startswith(_RESERVED_TABLES):
        return replace(out, reason="its name is one that Floe gives to tables of its own")
    reasons = {
        "v": "a view: no key, no change time; better replicate the tables that it reads",
        "m": "a materialized view: no key, no change time; better replicate the tables that it reads",
        "f": "a foreign table: its rows are another server's, better replicate that one",
    }
    reason = reasons.get(found.kind)
    if found.extension:
        reason = f"it belongs to the extension {found.extension}"
    if reason is None:
        return None
    return replace(out, reason=reason, stream=_whole(found))


def _whole(found: FoundTable) -> Stream:
    """Return a stream that reads everything, with the key if there is one."""
    columns, dropped = _columns(found, ())
    notes = (*_origin(found), *dropped)
    return Stream(
        found.schema,
        found.name,
        "full_refresh_overwrite",
        primary_key=_key(found)[0],
        columns=columns,
        rows=found.rows,
        notes=notes,
    )


def _stream(found: FoundTable) -> Stream | LeftOut:
    key, key_notes = _key(found)
    offered = candidates(found)
    chosen = _chosen(found, offered) if key else None
    needed = tuple(dict.fromkeys([*key, *([chosen.column.name] if chosen else [])]))
    if unfit := _unfit(needed):
        return LeftOut(found.schema, found.name, unfit, is_warning=True)
    columns, dropped = _columns(found, needed)
    warnings = [*_table_warnings(found), *dropped]
    notes = [*_origin(found), *key_notes]
    if not key:
        warnings += [] if found.inherited else [_WITHOUT_KEY]
    elif chosen:
        warnings += chosen.warnings
        warnings += _index_warning(found, chosen)
        notes.append(f"Cursor {chosen.column.name}: {', '.join(chosen.reasons)}")
    else:
        warnings.append(_without_cursor(found))
    notes += _others([one for one in offered if one is not chosen])
    return Stream(
        found.schema,
        found.name,
        "incremental_deduped_history" if chosen else "full_refresh_overwrite",
        cursor=chosen.column.name if chosen else None,
        primary_key=key,
        columns=columns,
        rows=found.rows,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _unfit(needed: tuple[str, ...]) -> str | None:
    """Return why a table cannot be had with these columns, which every sync needs."""
    if len({folded(name) for name in needed}) < len(needed):
        return "columns of its key differ in upper and lower case only, which warehouses do not tell apart"
    if any(folded(name).startswith(_RESERVED_COLUMNS) for name in needed):
        return "its key or cursor is named like a column of Airbyte's own"
    return None


def _key(found: FoundTable) -> tuple[tuple[str, ...], list[str]]:
    """Return the columns that tell rows apart, and what to say about them."""
    table = found.table
    # Children keep indexes of their own: nothing forbids the same key in two of them.
    if table is None or found.inherited or not table.unique_keys:
        return (), []
    if table.primary_key:
        return tuple(table.primary_key), []
    keys = sorted(table.unique_keys, key=lambda key: (tuple(key) != found.replica_key, len(key), key))
    return tuple(keys[0]), ["No primary key: a unique index without NULLs serves as one"]


def _chosen(found: FoundTable, offered: list[Candidate]) -> Candidate | None:
    for one in offered:
        if one.role == "change":
            return one
        # Only new rows are seen: worth it where a full refresh is dear, and no update was ever counted.
        if one.role == "growth" and (found.rows or 0) >= SMALL_ROWS and found.inserted and not found.updated:
            return one
    return None


def _others(offered: list[Candidate]) -> list[str]:
    """Return the next best candidates, and those that are refused, by reason."""
    notes = []
    for one in offered[:_SHOWN_CANDIDATES]:
        if one.role != "none":
            only = "grows with new rows only, " if one.role == "growth" else ""
            notes.append(f"Also possible: {one.column.name}: {only}{', '.join(one.reasons)}")
    refused: dict[str, list[str]] = {}
    for one in offered:
        if one.refusal:
            refused.setdefault(one.refusal, []).append(one.column.name)
    return notes + [f"Not the cursor: {', '.join(names)}: {reason}" for reason, names in refused.items()]


def _columns(found: FoundTable, needed: tuple[str, ...]) -> tuple[tuple[str, ...] | None, list[str]]:
    """Return the columns to select, if not all can be, and why."""
    names = [column.name for column in found.table.columns] if found.table else []
    taken = {folded(name): name for name in needed}
    for name in names:
        if not folded(name).startswith(_RESERVED_COLUMNS):
            taken.setdefault(folded(name), name)
    kept = tuple(name for name in names if taken.get(folded(name)) == name)
    lost = [name for name in names if name not in kept]
    if not lost:
        return None, []
    return kept, [
        f"left out: {', '.join(lost)} (a name that another column has but for case, or Airbyte's own)"
    ]


def _origin(found: FoundTable) -> list[str]:
    rows = "rows unknown: never analysed, or empty" if found.rows is None else f"about {found.rows:,} rows"
    if found.partitions is not None:
        return [f"Partitioned, {found.partitions} partitions, read as one table; {rows}"]
    return [rows[0].upper() + rows[1:]]


def _table_warnings(found: FoundTable) -> list[str]:
    warnings = []
    if found.filtered:
        warnings.append("row security hides rows from this user: only those it may see are replicated")
    if found.inherited:
        warnings.append(
            "other tables inherit from it: their rows are read with its own, keys may repeat, "
            "and every sync reads it as a whole"
        )
    return warnings


def _without_cursor(found: FoundTable) -> str:
    text = "no usable cursor: every sync reads it as a whole"
    if (found.rows or 0) < LARGE_ROWS:
        return text
    key = [found.table.column(name) for name in found.table.primary_key] if found.table else []
    growing = ""
    if len(key) == 1 and key[0] and key[0].type_name.startswith("int"):
        growing = f"; or, if rows are only added and {key[0].name} grows, take that as the cursor"
    return f"{text}, about {found.rows:,} rows; {_ADVICE}{growing}"


def _index_warning(found: FoundTable, chosen: Candidate) -> list[str]:
    if (found.rows or 0) < LARGE_ROWS or chosen.column.name in found.leading:
        return []
    return [f"{chosen.column.name} is not indexed: every sync scans about {found.rows:,} rows"]


def _collision(stream: Stream, other: Stream) -> LeftOut:
    return LeftOut(
        stream.namespace,
        stream.name,
        f"warehouses do not tell it apart from {other.namespace}.{other.name}",
        "declare it in a file of its own, with another destination_schema or a table_prefix",
        is_warning=True,
    )
