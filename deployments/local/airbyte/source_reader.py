"""Reading one stream in one snapshot of the source.

DuckDB opens a REPEATABLE READ, READ ONLY transaction on PostgreSQL with the first statement of its own
transaction; parallel scans join it through an exported snapshot. So everything that is asked between
BEGIN and COMMIT (the upper bound, the counts, the rows) sees the same state of the source.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb

from blocks.postgres_catalog import SourceTable, read_tables
from blocks.postgres_types import SourceColumn, changes_expression
from deployments.local.airbyte.job_spec import PostgresAddress
from lambda_csv_loader.ducklake import libpq, sql_name, sql_string

ALIAS = "source"
RANK = "_airbyte_rank"
CHANGES = "_airbyte_changes"
# Text forms of cursors and cast columns must not depend on how the server or its database is set up.
_SESSION = (
    "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
)


@dataclass(frozen=True)
class Extent:
    """What there is to read, measured in the snapshot that is then read.

    Attributes:
        rows: how many rows the read will give.
        upper: the largest cursor as PostgreSQL writes it; None without a cursor or without rows.
        unfit: whether some value cannot be held by its column's type in the lake.
        null_keys: rows whose declared primary key is NULL in part.
        unfit_keys: rows whose primary key has a part that its type in the lake cannot hold.
    """

    rows: int
    upper: str | None
    unfit: bool
    null_keys: int
    unfit_keys: int


@dataclass(frozen=True)
class Selection:
    """Which rows and columns of a table a sync reads.

    Attributes:
        table: the source's table.
        columns: those that are replicated.
        cursor: the cursor's column; None for full refreshes.
        lower: the saved cursor as text, to be read again (`>=`); None reads everything.
        key: the primary key when rows must be unique by it, else empty.
    """

    table: SourceTable
    columns: list[SourceColumn]
    cursor: SourceColumn | None
    lower: str | None
    key: list[str]

    @property
    def is_full(self) -> bool:
        """Whether every row is read, rows with a NULL cursor among them."""
        return self.lower is None

    @property
    def must_rank(self) -> bool:
        """Whether rows must be unique by their key, and PostgreSQL itself does not guarantee it."""
        return bool(self.key) and not any(set(unique) <= set(self.key) for unique in self.table.unique_keys)


class SourceReader:
    """The source database, attached to a DuckDB connection."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, address: PostgresAddress, scratch: Path
    ) -> None:
        """Attach the source.

        DuckDB repeats the whole connection string in its errors, so the password goes into a pass file
        in `scratch` and never into the string.

        Raises:
            duckdb.IOException: the source does not answer or refuses the user.
        """
        self._connection = connection
        passfile = write_passfile(scratch / "pgpass", address.password)
        target = libpq(address.host, address.port, address.username, address.database, passfile)
        target += f" sslmode={address.ssl_mode} connect_timeout=10 application_name='{STAND_IN_APPLICATION}'"
        target += f" options='{_SESSION}'"
        connection.execute(f"ATTACH {sql_string(target)} AS {ALIAS} (TYPE postgres, READ_ONLY)")

    def query(self, sql: str) -> list[str]:
        """Run a query on the source and return its first column."""
        return [row[0] for row in self._connection.execute(f"select * from {remote(sql)}").fetchall()]

    def tables(self, schemas: list[str]) -> dict[tuple[str, str], SourceTable]:
        """Describe the source's tables in `schemas`, as they are now."""
        # DuckDB remembers what it saw of the source's tables; a parallel scan relies on that memory.
        self._connection.execute("call pg_clear_cache()")
        return read_tables(self.query, schemas)

    def measure(self, selection: Selection) -> Extent:
        """Count what `selection` reads and find the upper bound of its cursor, in one scan."""
        row = self._connection.execute(f"select * from {remote(_measure_sql(selection))}").fetchone()
        assert row is not None  # noqa: S101  (an aggregate always gives a row)
        return Extent(rows=row[0], upper=row[1], unfit=bool(row[2]), null_keys=row[3], unfit_keys=row[4])

    def relation(self, selection: Selection, extent: Extent, meta: str) -> str:
        """Return a DuckDB subquery that gives the rows, each column in its type of the lake.

        Args:
            selection: what to read.
            extent: what `measure` found in this snapshot.
            meta: Airbyte's own columns, from `meta_columns`.

        Returns:
            The columns, the rank among rows of the same key, and Airbyte's columns.
        """
        wanted = ", ".join(
            f"{sql_name(column.name)}::{column.lake_type} as {sql_name(column.name)}"
            for column in selection.columns
        )
        if self._can_scan(selection, extent):
            origin = sql_name(ALIAS, selection.table.schema, selection.table.name)
        else:
            origin = remote(_rows_sql(selection, extent))
        # What is the same for all rows is not sent.
        rank = RANK if selection.must_rank else "1"
        changes = f"{CHANGES}::VARCHAR" if extent.unfit else "'[]'"
        rows = f"select {wanted}, {rank} as {RANK}, {changes} as {CHANGES} from {origin}"
        return f"(select * exclude ({CHANGES}), {meta} from ({rows}))"

    @staticmethod
    def _can_scan(selection: Selection, extent: Extent) -> bool:
        """Whether DuckDB's parallel scan of pages may be used: nothing to filter, cast or rank."""
        return (
            selection.is_full
            and selection.table.is_plain_table
            and not extent.unfit
            and not selection.must_rank
            and not any(column.needs_server_cast or column.type_name == "oid" for column in selection.columns)
        )


def meta_columns(job_id: int, generation_id: int, extracted_at: str) -> str:
    """Return the select list of Airbyte's own four columns, for `SourceReader.relation`."""
    head = sql_string(f'{{"sync_id":{job_id},"changes":')
    columns = {
        "_airbyte_raw_id": "uuid()::VARCHAR",
        "_airbyte_extracted_at": f"{sql_string(extracted_at)}::TIMESTAMPTZ",
        "_airbyte_meta": f"({head} || {CHANGES} || '}}')::JSON",
        "_airbyte_generation_id": f"{generation_id}::BIGINT",
    }
    return ", ".join(f"{expression} as {name}" for name, expression in columns.items())


STAND_IN_APPLICATION = f"floe-airbyte-{os.getpid()}"


def remote(sql: str) -> str:
    """Return the DuckDB table function that runs `sql` on the source as it stands."""
    return f"postgres_query({sql_string(ALIAS)}, {sql_string(sql)})"


def write_passfile(path: Path, password: str) -> Path:
    """Write a libpq pass file with this password for every server, readable by its owner only."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with os.fdopen(descriptor, "w") as file:
        file.write(f"*:*:*:*:{escaped}\n")
    return path


def _where(selection: Selection, extent: Extent | None = None) -> str:
    cursor = selection.cursor
    if cursor is None or selection.lower is None:
        return ""
    name = sql_name(cursor.name)
    terms = [f"{name} >= {sql_string(selection.lower)}::{cursor.declared}"]
    if extent is not None and extent.upper is not None:
        terms.append(f"{name} <= {sql_string(extent.upper)}::{cursor.declared}")
    elif cursor.endless:
        terms.append(f"not ({cursor.endless})")
    return " where " + " and ".join(terms)


def _measure_sql(selection: Selection) -> str:
    upper = "null::text"
    if selection.cursor is not None:
        name, endless = sql_name(selection.cursor.name), selection.cursor.endless
        upper = f"(max({name}){f' filter (where not ({endless}))' if endless else ''})::text"
    unfit = " or ".join(column.unfit for column in selection.columns if column.unfit)
    null_key = " or ".join(f"{sql_name(name)} is null" for name in selection.key)
    keys = (column for column in selection.columns if column.name in selection.key)
    unfit_key = " or ".join(column.unfit for column in keys if column.unfit)
    return (
        f"select count(*) as rows, {upper} as upper, coalesce(bool_or({unfit or 'false'}), false) as unfit, "
        f"count(*) filter (where {null_key or 'false'}) as null_keys, "
        f"count(*) filter (where {unfit_key or 'false'}) as unfit_keys "
        f"from {sql_name(selection.table.schema, selection.table.name)}{_where(selection)}"
    )


def _rows_sql(selection: Selection, extent: Extent) -> str:
    columns = [
        column.select(guarded=extent.unfit, in_key=column.name in selection.key)
        for column in selection.columns
    ]
    if selection.must_rank:
        order = f"{sql_name(selection.cursor.name)} desc nulls last, " if selection.cursor else ""
        keys = ", ".join(sql_name(name) for name in selection.key)
        # The whole row as text makes the winner among equals the same in every sync.
        rank = f"row_number() over (partition by {keys} order by {order}origin::text desc)"
        columns.append(f"{rank} as {RANK}")
    if extent.unfit:
        columns.append(f"{changes_expression(selection.columns)}::text as {CHANGES}")
    return (
        f"select {', '.join(columns)} "
        f"from {sql_name(selection.table.schema, selection.table.name)} as origin{_where(selection, extent)}"
    )
