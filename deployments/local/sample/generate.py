"""Generate the sample company: dsdgen in DuckDB, copied to PostgreSQL and to weekly CSV files.

An interrupted generation starts over; a finished one is recognised. The files are landed before
any database is marked finished, so that a finished company is a whole one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from blocks.errors import ConfigurationError, ServiceUnavailable, TransientError
from deployments.local.sample.change_times import select_with_change_time
from deployments.local.sample.tables import CHANGING, CLOCK_START, TABLES, inventory_key, schema_sql
from lambda_csv_loader.ducklake import sql_string

Landing = Callable[[str, bytes], None]
"""Puts one file into the bucket: key, content."""

Progress = Callable[[str, int], None]
"""Told after each table (`crm.customer`) and file (its key), with the number of rows."""

# dsdgen 1.5.5 does not come back from scales below 0.008.
SMALLEST_SCALE, LARGEST_SCALE = 0.01, 1.0
INVENTORY_HEADER = "inv_date_sk,inv_item_sk,inv_warehouse_sk,inv_quantity_on_hand\n"
_FRESH = "`floe demo --fresh` (throws the present sample away)"


class GenerationInterrupted(TransientError):
    """The sample is half made; the next start makes it anew."""


@dataclass(frozen=True)
class Generation:
    """What there is after `generate`.

    Args:
        created: False when a finished company of this scale was there already.
        scale: TPC-DS scale factor.
        rows: rows per `<source>.<table>`.
        files: weekly files landed by this call.
    """

    created: bool
    scale: float
    rows: Mapping[str, int]
    files: int


def generate(
    sources: Mapping[str, str],
    scale: float,
    extension_directory: Path,
    landing: Landing,
    progress: Progress | None = None,
) -> Generation:
    """Fill the sources' databases and land the weekly inventory files.

    The same scale always gives the same rows and bytes. Databases that are finished are left alone.

    Args:
        sources: libpq connection strings of `crm`, `erp` and `accounting`, without a password.
        scale: TPC-DS scale factor, from 0.01 (1,000 customers) to 1 (100,000).
        extension_directory: where DuckDB finds `tpcds` and `postgres_scanner`.
        landing: puts one file into the bucket.
        progress: told after each table and file.

    Raises:
        ConfigurationError: the scale is out of range, another one is there, or a database holds
            tables that are not the sample's.
        GenerationInterrupted: a database or the disk failed on the way.
        ServiceUnavailable: a database does not answer.
    """
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise ConfigurationError(
            f"The sample's scale must be from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, not {scale:g}",
            state="nothing was changed",
            next_command="floe demo --scale 0.01",
        )
    report = progress or (lambda name, rows: None)
    unfinished = [source for source in TABLES if not _is_finished(source, sources[source], scale)]
    files = 0
    if unfinished:
        try:
            with _dsdgen(scale, extension_directory) as generated:
                for source in unfinished:
                    _create_tables(source, sources[source], scale)
                    _copy(generated, source, sources[source], report)
                for key, content, rows in inventory_files(generated):
                    landing(key, content)
                    report(key, rows)
                    files += 1
            for source in unfinished:
                _finish(source, sources[source])
        except (duckdb.Error, psycopg.Error) as error:
            raise GenerationInterrupted(
                f"The sample at scale {scale:g} could not be generated: {str(error).strip()}",
                state="what was begun is thrown away by the next start",
                next_command="floe up",
            ) from error
    return Generation(bool(unfinished), scale, count_rows(sources), files)


def count_rows(sources: Mapping[str, str]) -> dict[str, int]:
    """Return the number of rows of every table of the sample, per `<source>.<table>`."""
    counts = {}
    for source, tables in TABLES.items():
        with connect_source(source, sources[source]) as connection:
            for table in tables:
                statement = sql.SQL("select count(*) from public.{}").format(sql.Identifier(table))
                row = connection.execute(statement).fetchone()
                assert row is not None  # noqa: S101 - count(*) always gives a row
                counts[f"{source}.{table}"] = int(row[0])
    return counts


def connect_source(source: str, dsn: str) -> psycopg.Connection:
    """Open a connection to one of the sample's databases, with UTC as its time zone.

    Raises:
        ServiceUnavailable: the database does not answer.
    """
    try:
        return psycopg.connect(dsn, options="-c TimeZone=UTC")
    except psycopg.OperationalError as error:
        raise ServiceUnavailable(
            f"The sample's database {source} does not answer: {str(error).strip()}",
            state="nothing was changed",
            next_command="floe up",
        ) from None


def inventory_files(generated: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, bytes, int]]:
    """Yield key, content and number of rows of each weekly file, week by week to save memory."""
    weeks = generated.execute(
        "select distinct inv_date_sk, d_date"
        " from inventory join date_dim on d_date_sk = inv_date_sk order by 1"
    ).fetchall()
    for week, day in weeks:
        lines = generated.execute(
            "select concat_ws(',', inv_date_sk, inv_item_sk, inv_warehouse_sk)"
            " || ',' || coalesce(inv_quantity_on_hand::varchar, '')"
            " from inventory where inv_date_sk = ? order by inv_item_sk, inv_warehouse_sk",
            [week],
        ).fetchall()
        yield inventory_file(day, [line for (line,) in lines])


def inventory_file(day: date, lines: list[str]) -> tuple[str, bytes, int]:
    """Return key, content and number of rows of the weekly file of `day`."""
    content = INVENTORY_HEADER + "".join(f"{line}\n" for line in lines)
    return inventory_key(day), content.encode("ascii"), len(lines)


@contextmanager
def _dsdgen(scale: float, extension_directory: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with tempfile.TemporaryDirectory(prefix="floe-sample-") as scratch, duckdb.connect() as connection:
        # dsdgen also makes the store's sales; at scale 1 all of it is 2 GB, so the rest goes to disk.
        connection.execute(f"SET memory_limit = '2GB'; SET temp_directory = {sql_string(scratch)}")
        connection.execute(f"SET extension_directory = {sql_string(extension_directory)}")
        connection.execute("LOAD tpcds; LOAD postgres_scanner; SET TimeZone = 'UTC'")
        connection.execute("CALL dsdgen(sf = ?)", [scale])
        yield connection


def _is_finished(source: str, dsn: str, scale: float) -> bool:
    with connect_source(source, dsn) as connection:
        if not _exists(connection, "sample.generation"):
            strange = [table for table in TABLES[source] if _exists(connection, f"public.{table}")]
            if strange:
                raise ConfigurationError(
                    f"Database {source} holds tables that Floe's sample did not make: {', '.join(strange)}",
                    state="nothing was changed",
                    next_command="point the sample at empty databases",
                )
            return False
        row = connection.execute("select scale::float8, finished from sample.generation").fetchone()
    if row is None or not row[1]:
        return False
    if row[0] != scale:
        raise ConfigurationError(
            f"Database {source} holds the sample at scale {row[0]:g}, not {scale:g}",
            state="nothing was changed",
            next_command=f"floe demo --scale {row[0]:g}, or {_FRESH}",
        )
    return True


def _exists(connection: psycopg.Connection, table: str) -> bool:
    row = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
    return row is not None and bool(row[0])


def _create_tables(source: str, dsn: str, scale: float) -> None:
    with connect_source(source, dsn) as connection:
        connection.execute("drop schema if exists sample cascade")
        for table in reversed(TABLES[source]):
            connection.execute(
                sql.SQL("drop table if exists public.{} cascade").format(sql.Identifier(table))
            )
        connection.execute(schema_sql("business_clock").encode())
        connection.execute("insert into sample.generation values (%s, false)", [scale])
        connection.execute(schema_sql(source).encode())


def _copy(generated: duckdb.DuckDBPyConnection, source: str, dsn: str, report: Progress) -> None:
    generated.execute(f"ATTACH {sql_string(dsn)} AS target (TYPE postgres)")
    try:
        for table in TABLES[source]:
            select = select_with_change_time(table) if table in CHANGING[source] else f"from {table}"
            (rows,) = generated.execute(f"insert into target.public.{table} {select}").fetchall()[0]
            report(f"{source}.{table}", int(rows))
    finally:
        generated.execute("DETACH target")


def _finish(source: str, dsn: str) -> None:
    with connect_source(source, dsn) as connection:
        connection.execute(schema_sql(f"{source}_constraints").encode())
        connection.execute("insert into sample.business_clock values (%s)", [CLOCK_START])
        connection.execute("analyze")
        connection.execute("update sample.generation set finished = true")
