"""Compare one table of the source with its merged rows: buckets first, then keys, then rows.

The source is read in one REPEATABLE READ snapshot, taken before the warehouse's, so that a row which the
warehouse alone has was either deleted in the source or came later. What then differs is read again by key,
in a fresh snapshot of the source, before it is called a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from math import isqrt
from typing import Any, Literal

import psycopg

from blocks.compared_table import Bounds, ComparedTable, Key
from blocks.errors import PermanentError
from blocks.warehouse_dialects import Database

ROWS_PER_BUCKET = 200
MOST_BUCKETS = 20_000
# Fewer than Snowflake takes in one VALUES.
BATCH = 5_000
FETCHED = 10_000
# Their keys are held in memory; more of them are not repaired one by one.
MOST_DIFFERENCES = 200_000

Verdict = Literal["same", "missing", "stale", "deleted", "not_yet_due"]


class TooManyDifferences(PermanentError):
    """A stream differs from its source in more rows than are repaired one by one."""


@dataclass(frozen=True)
class Findings:
    """What a comparison found before it looked at single rows.

    Attributes:
        bounds: which rows were compared.
        source_rows: compared in the source.
        warehouse_rows: compared in the warehouse.
        keys: of rows that differ.
    """

    bounds: Bounds
    source_rows: int = 0
    warehouse_rows: int = 0
    keys: list[Key] = field(default_factory=list)


@dataclass(frozen=True)
class Examined:
    """One key on both sides, the source's side being the fresher one.

    Attributes:
        key: of the row.
        verdict: what the difference is.
        row_hash: of the source's row, None when there is none.
        raw_id: of the raw row that was compared, None when there was none.
        changes: what became of values that the warehouse cannot hold, a JSON list.
        texts: of the source's row, one per column of the compared table.
    """

    key: Key
    verdict: Verdict
    row_hash: int | None
    raw_id: str | None
    changes: str
    texts: tuple[str | None, ...]


def find_differences(
    source: psycopg.Connection, database: Database, table: ComparedTable, window_seconds: int | None
) -> Findings:
    """Compare both sides and return the keys that differ.

    Args:
        source: inside a transaction whose snapshot is taken already.
        database: the warehouse, inside a transaction where it knows snapshots.
        table: what to compare.
        window_seconds: leave out rows whose cursor is older than the newest one by more than this.

    Raises:
        TooManyDifferences: the two have little in common.
    """
    rows, bounds = _bounds(source, database, table, window_seconds)
    if table.cursor is not None and not rows:
        # The first sync has not come yet.
        return Findings(bounds)
    buckets = _prime(max(1, min(MOST_BUCKETS, rows // ROWS_PER_BUCKET)))
    # Two servers, each busy for as long as the other.
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(_query, source, table.source_buckets(bounds, buckets))
        database.execute(table.warehouse_buckets(bounds, buckets))
        here, there = _buckets(database.fetchall()), _buckets(asked.result())
    differing = sorted(
        bucket for bucket in here.keys() | there.keys() if here.get(bucket) != there.get(bucket)
    )
    return Findings(
        bounds,
        source_rows=sum(count for count, _ in there.values()),
        warehouse_rows=sum(count for count, _ in here.values()),
        keys=_differing_keys(source, database, table, bounds, buckets, differing) if differing else [],
    )


def examine(
    source: psycopg.Connection, database: Database, table: ComparedTable, bounds: Bounds, keys: Sequence[Key]
) -> list[Examined]:
    """Look at single rows: the warehouse's first, then the source's, as it is now.

    Args:
        source: outside of a transaction.
        database: the warehouse.
        table: what is compared.
        bounds: of the comparison that found the keys.
        keys: at most `BATCH` of them.
    """
    database.execute(table.warehouse_by_key(keys))
    here: dict[int, tuple[Any, Any]] = {row[0]: (row[1], row[2]) for row in database.fetchall()}
    there = {row[0]: row for row in _query(source, table.source_by_key(keys, bounds))}
    return [_examined(key, here.get(n, (None, None)), there.get(n)) for n, key in enumerate(keys)]


def batches(keys: Sequence[Key], size: int = BATCH) -> Iterator[Sequence[Key]]:
    """Cut keys into parts that one query can name."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _examined(key: Key, here: tuple[Any, Any], there: tuple[Any, ...] | None) -> Examined:
    merged, raw_id = here
    if there is None:
        verdict: Verdict = "same" if merged is None else "deleted"
        return Examined(key, verdict, None, raw_id, "[]", ())
    _, row_hash, is_due, changes, *texts = there
    if merged is not None and int(merged) == row_hash:
        verdict = "same"
    elif not is_due:
        verdict = "not_yet_due"
    else:
        verdict = "missing" if merged is None else "stale"
    return Examined(key, verdict, row_hash, raw_id, changes, tuple(texts))


def _bounds(
    source: psycopg.Connection, database: Database, table: ComparedTable, window_seconds: int | None
) -> tuple[int, Bounds]:
    """Return how many rows the raw table has, and which rows are to be compared."""
    if table.cursor is None:
        database.execute(f"select count(*) from {table.raw.sql}")
        return int(database.fetchall()[0][0]), Bounds()
    database.execute(table.newest_cursor())
    rows, upper = database.fetchall()[0]
    lower = None
    if upper is not None and window_seconds is not None:
        lower = _query(source, table.window_start(upper, window_seconds))[0][0]
    return int(rows), Bounds(upper, lower)


def _differing_keys(
    source: psycopg.Connection,
    database: Database,
    table: ComparedTable,
    bounds: Bounds,
    buckets: int,
    differing: list[int],
) -> list[Key]:
    # Naming most of the buckets costs more than it saves.
    chosen = differing if len(differing) * 2 < buckets else None
    keys: list[Key] = []
    database.execute(table.warehouse_keys(bounds, buckets, chosen))
    with source.cursor(name="floe_keys") as cursor:
        cursor.itersize = FETCHED
        cursor.execute(table.source_keys(bounds, buckets, chosen).encode())
        for here, there in _side_by_side(_fetched(database), cursor):
            keys += [
                tuple((there.get(key_id) or here[key_id])[1])
                for key_id in here.keys() | there.keys()
                if here.get(key_id, (None,))[0] != there.get(key_id, (None,))[0]
            ]
            if len(keys) > MOST_DIFFERENCES:
                raise TooManyDifferences(
                    f"{table.source.schema}.{table.source.name} differs from {table.raw.sql} in more than "
                    f"{MOST_DIFFERENCES:,} rows",
                    state="nothing was repaired",
                    next_command="refresh the stream in Airbyte, then reconcile again",
                )
    return keys


# The rows of one bucket: key id → (hash, key).
_Rows = dict[str, tuple[int, Sequence[str]]]


def _side_by_side(
    here: Iterator[tuple[Any, ...]], there: Iterator[tuple[Any, ...]]
) -> Iterator[tuple[_Rows, _Rows]]:
    """Walk through both sides bucket by bucket; both come in the order of their buckets."""
    ours, theirs = _by_bucket(here), _by_bucket(there)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        bucket = min(side[0] for side in (mine, other) if side is not None)
        rows: list[_Rows] = [{}, {}]
        if mine is not None and mine[0] == bucket:
            rows[0], mine = mine[1], next(ours, None)
        if other is not None and other[0] == bucket:
            rows[1], other = other[1], next(theirs, None)
        yield rows[0], rows[1]


def _by_bucket(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, _Rows]]:
    for bucket, found in groupby(rows, key=lambda row: int(row[0])):
        yield bucket, {row[1]: (int(row[2]), row[3:]) for row in found}


def _fetched(database: Database) -> Iterator[tuple[Any, ...]]:
    while rows := database.fetchmany(FETCHED):
        yield from rows


def _prime(most: int) -> int:
    """Return the largest prime up to a number: keys that go in steps fall into every bucket all the same."""
    return next((n for n in range(most, 2, -1) if all(n % d for d in range(2, isqrt(n) + 1))), 1)


def _buckets(rows: list[Any]) -> dict[int, tuple[int, int]]:
    return {int(bucket): (int(count), int(total)) for bucket, count, total in rows}


def _query(source: psycopg.Connection, sql: str) -> list[tuple[Any, ...]]:
    return source.execute(sql.encode()).fetchall()
