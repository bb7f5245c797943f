"""Write what a comparison found into `__floe_repairs_<table>`, batch by batch.

Every batch looks at its rows once more and is one transaction: a run that dies half-way leaves only repairs
that are right, and the next one goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from blocks.compared_table import Bounds, ComparedTable, Key
from blocks.comparison import Examined, batches, examine
from blocks.errors import PermanentError
from blocks.merged_rows import REPAIR_COLUMNS
from blocks.warehouse_dialects import Database
from lambda_csv_loader.ducklake import sql_name

KEYS_SHOWN = 5


class NotRepaired(PermanentError):
    """Rows differ from the source, and writing their repair did not help."""


@dataclass
class Written:
    """How many repairs were written."""

    upserts: int = 0
    deletes: int = 0


def prepare(database: Database, table: ComparedTable) -> None:
    """Create the repair table, or add what the raw table has gained; outside of any transaction."""
    columns = {column.name: column.declared for column in table.raw.columns}
    present = {column.name.lower() for column in table.raw.repair_columns or ()}
    if table.raw.repair_columns is None:
        names = [f"{sql_name(name)} {declared}" for name, declared in columns.items()]
        names += [f"{name} {declared}" for name, declared in REPAIR_COLUMNS.items()]
        database.execute(f"create table if not exists {table.raw.repairs} ({', '.join(names)})")
        return
    missing = [f"{sql_name(name)} {kind}" for name, kind in columns.items() if name.lower() not in present]
    missing += [f"{name} {kind}" for name, kind in REPAIR_COLUMNS.items() if name not in present]
    for definition in missing:
        database.execute(f"alter table {table.raw.repairs} add column {definition}")


def write(
    source: psycopg.Connection,
    database: Database,
    table: ComparedTable,
    bounds: Bounds,
    keys: Sequence[Key],
    verdicts: frozenset[str],
) -> Written:
    """Repair the rows of these keys.

    Args:
        source: outside of a transaction.
        database: the warehouse, the repair table `prepare`d.
        table: what was compared, read after `prepare`.
        bounds: of the comparison.
        keys: of the rows that differ.
        verdicts: which of missing, stale and deleted are repaired.

    Raises:
        NotRepaired: the warehouse refuses a row, or shows it otherwise than it was written.
    """
    done = Written()
    for batch in batches(keys):
        at = datetime.now(UTC)
        found = [row for row in examine(source, database, table, bounds, batch) if row.verdict in verdicts]
        upserts = [row for row in found if row.verdict != "deleted"]
        deletes = [row for row in found if row.verdict == "deleted"]
        try:
            _write_batch(database, table, upserts, deletes, at)
        except table.dialect.errors as error:
            first = str(error).splitlines()[0][:300]
            raise _not_repaired(table, found, f"the warehouse refuses them: {first}") from None
        _verify(database, table, found)
        done.upserts += len(upserts)
        done.deletes += len(deletes)
    return done


def _write_batch(
    database: Database, table: ComparedTable, upserts: list[Examined], deletes: list[Examined], at: datetime
) -> None:
    if not upserts and not deletes:
        return
    database.execute("begin")
    try:
        if upserts:
            database.execute(_upsert(table, upserts, at))
        if deletes:
            database.execute(_delete(table, deletes, at))
        database.execute("commit")
    except BaseException:
        # A commit that failed may have ended the transaction already.
        with suppress(*table.dialect.errors):
            database.execute("rollback")
        raise


def _verify(database: Database, table: ComparedTable, written: list[Examined]) -> None:
    """Refuse to call a row repaired that staging does not show as it was written.

    A raw row that another sync has written meanwhile is that sync's.
    """
    if not written:
        return
    database.execute(table.warehouse_by_key([row.key for row in written]))
    shown = {row[0]: row for row in database.fetchall()}
    wrong = [
        row
        for n, row in enumerate(written)
        if shown[n][2] == row.raw_id and (None if shown[n][1] is None else int(shown[n][1])) != row.row_hash
    ]
    if wrong:
        raise _not_repaired(table, wrong, "a repair was written, and the row still differs")


def _not_repaired(table: ComparedTable, rows: list[Examined], why: str) -> NotRepaired:
    return NotRepaired(
        f"{table.source.schema}.{table.source.name}: rows {keys_shown(table, [row.key for row in rows])} "
        f"cannot be repaired: {why}",
        state="repairs before these are kept; these rows are still wrong in the marts",
        next_command="refresh the stream in Airbyte, then reconcile again",
    )


def keys_shown(table: ComparedTable, keys: Sequence[Key]) -> str:
    """Return the first keys in words, e.g. `(item=1, order=2), ... and 3 more`."""
    names = [pair.source.name for pair in table.key]
    first = [
        f"({', '.join(f'{name}={part}' for name, part in zip(names, key, strict=True))})"
        for key in sorted(keys)[:KEYS_SHOWN]
    ]
    more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
    return ", ".join(first) + more


def _upsert(table: ComparedTable, rows: list[Examined], at: datetime) -> str:
    names = {pair.raw.name: f"_floe_c{i}" for i, pair in enumerate(table.columns)}
    given = ["_floe_raw_id", "_floe_meta", "_floe_replaces", *names.values()]
    values = ", ".join(f"({', '.join(table.dialect.literal(text) for text in _texts(row))})" for row in rows)
    own = {
        "_airbyte_raw_id": "_floe_raw_id",
        "_airbyte_extracted_at": _time(at),
        "_airbyte_meta": "_floe_meta",
    }
    casts = [
        table.dialect.cast(text, column.declared)
        for column in table.raw.columns
        for text in [names.get(column.name) or own.get(column.name.lower()) or "null"]
    ]
    return (
        f"{_into(table)} select {', '.join(casts)}, 'upsert', {_time(at)}, "
        f"cast(_floe_replaces as varchar) from (values {values}) as given({', '.join(given)})"
    )


def _texts(row: Examined) -> list[str | None]:
    # No sync wrote this row, and sync ids are numbers: 0 is none of them.
    return [str(uuid.uuid4()), f'{{"sync_id":0,"changes":{row.changes}}}', row.raw_id, *row.texts]


def _delete(table: ComparedTable, rows: list[Examined], at: datetime) -> str:
    """Keep what the row was when it was last seen."""
    replaces = ", ".join(f"({n}, {table.dialect.literal(row.raw_id)})" for n, row in enumerate(rows))
    columns = ", ".join(f"merged.{column.sql}" for column in table.raw.columns)
    return (
        f"{_into(table)} with wanted as ({table.wanted([row.key for row in rows])}), "
        f"compared as (select * from (values {replaces}) as given(_floe_n, _floe_replaces)) "
        f"select {columns}, 'delete', {_time(at)}, "
        f"cast(compared._floe_replaces as varchar) from wanted "
        f"inner join compared on wanted._floe_n = compared._floe_n "
        f"inner join {table.merged} as merged on {table.matches('merged')}"
    )


def _into(table: ComparedTable) -> str:
    names = ", ".join([*(column.sql for column in table.raw.columns), *REPAIR_COLUMNS])
    return f"insert into {table.raw.repairs} ({names})"


def _time(at: datetime) -> str:
    return f"cast('{at.isoformat()}' as timestamp with time zone)"
