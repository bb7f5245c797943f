"""Upkeep of a DuckLake: fewer small files, no version that nobody needs, no file that nothing names.

DuckLake keeps every version of every table until it is told otherwise
(https://ducklake.select/docs/stable/duckdb/maintenance/recommended_maintenance). What is done here is safe
beside running work because of ages: an open transaction may still read files that were replaced since it
began, may have written files that no version names yet, and finds its conflicts with others in the versions
since it began (https://github.com/duckdb/ducklake/issues/1472). So only what is older than any transaction
goes.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from blocks.ducklake_publisher import DuckLakePublisher
from blocks.errors import ConfigurationError, ServiceUnavailable
from blocks.source_database import CONNECT_SECONDS
from lambda_csv_loader.ducklake import CATALOG, DuckLakeSettings, connect, libpq, sql_name, sql_string
from lambda_csv_loader.ducklake_files import FOLDER
from lambda_csv_loader.session import Session
from lambda_csv_loader.writer import WarehouseUnavailable

# The longest sync has six hours (`AirbyteConnection.deadline_seconds`), analysts the rest.
LONGEST_TRANSACTION = timedelta(days=1)
SMALL_BYTES = 32 * 1024 * 1024
"""Files below this are merged with their neighbours."""
MERGED_AT_ONCE = 1000
_CATALOG = f"__ducklake_metadata_{CATALOG}"
_MEMORY = "512MB"


class Expired(NamedTuple):
    """Published sets given up, and versions that cannot be read any more."""

    sets: int
    versions: int


class Compacted(NamedTuple):
    """Files that were merged, files that hold their rows now, and tables left because others wrote them."""

    merged: int
    into: int
    left: int


class Deleted(NamedTuple):
    """Files that are gone, and those that wait until no transaction can read them."""

    files: int
    bytes: int
    waiting: int
    waiting_bytes: int


class Vacuumed(NamedTuple):
    """Tables of the catalog that were due, and the rows of them that were dead."""

    tables: int
    dead_rows: int


class TooYoung(ConfigurationError):
    """What is to be given up may be needed by a transaction that runs now."""


class LakeUpkeep:
    """Keeps one lake small. Each step may be done again at any time, and ended at any point.

    Args:
        settings: of the lake.
    """

    def __init__(self, settings: DuckLakeSettings) -> None:
        self._settings = settings
        self._session = Session(lambda: _open(settings))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def expire(self, before: datetime) -> Expired:
        """Give up published sets and versions from before a moment, except what must stay.

        What must stay is said by `DuckLakePublisher.give_up` and `pinned`; the newest version stays, too.

        Raises:
            TooYoung: the moment is less than `LONGEST_TRANSACTION` ago.
            WarehouseUnavailable: the warehouse does not answer.
        """
        _refuse_too_young(before)

        def work() -> Expired:
            publisher = DuckLakePublisher(self._session)
            sets, pinned = publisher.give_up(before), publisher.pinned()
            ((newest,),) = self._session.rows(f"select id from {CATALOG}.current_snapshot()")
            old = self._session.rows(
                f"select snapshot_id from {CATALOG}.snapshots() where snapshot_time < {_moment(before)}"
            )
            versions = [version for (version,) in old if version not in pinned and version != newest]
            if versions:
                self._session.rows(f"call ducklake_expire_snapshots('{CATALOG}', versions => {versions})")
            return Expired(sets, len(versions))

        return self._session.run(work)

    def compact(self) -> Compacted:
        """Merge small files of each table that has several; every version reads as before.

        A table that somebody else changes meanwhile is left for the next time.

        Raises:
            WarehouseUnavailable: the warehouse does not answer.
        """

        def work() -> list[tuple[Any, ...]]:
            return self._session.rows(
                f"select s.schema_name, t.table_name from {_CATALOG}.ducklake_data_file as f"
                f" inner join {_CATALOG}.ducklake_table as t on t.table_id = f.table_id"
                f" inner join {_CATALOG}.ducklake_schema as s on s.schema_id = t.schema_id"
                " where f.end_snapshot is null and t.end_snapshot is null and s.end_snapshot is null"
                f" and f.file_size_bytes < {SMALL_BYTES} group by all having count(*) > 1 order by all"
            )

        done = [self._merge(schema, table) for schema, table in self._session.run(work)]
        return Compacted(
            merged=sum(merged for merged, _ in filter(None, done)),
            into=sum(into for _, into in filter(None, done)),
            left=done.count(None),
        )

    def _merge(self, schema: str, table: str) -> tuple[int, int] | None:
        """Merge one table's small files; None when somebody else came first."""
        options = (
            f"schema => {sql_string(schema)}, max_file_size => {SMALL_BYTES},"
            f" max_compacted_files => {MERGED_AT_ONCE}"
        )
        call = f"call ducklake_merge_adjacent_files('{CATALOG}', {sql_string(table)}, {options})"
        try:
            rows = self._session.run(lambda: self._session.rows(call))
        except WarehouseUnavailable:
            if not self._session.is_open:
                # It is the warehouse that is gone, not that somebody else was faster.
                raise
            return None
        return sum(row[-2] for row in rows), sum(row[-1] for row in rows)

    def delete_files(self) -> Deleted:
        """Delete files that nothing has needed for longer than any transaction lasts.

        These are files that were merged or whose versions have ended, and those that a killed writer left.

        Raises:
            WarehouseUnavailable: the warehouse does not answer.
        """

        def work() -> Deleted:
            gone = [self._delete("cleanup_old_files"), self._delete("delete_orphaned_files")]
            self._remove_empty_folders()
            waiting = self._files("cleanup_old_files", "cleanup_all => true, dry_run => true")
            return Deleted(
                files=sum(len(sizes) for sizes in gone),
                bytes=sum(sum(sizes) for sizes in gone),
                waiting=len(waiting),
                waiting_bytes=sum(map(_size, waiting)),
            )

        return self._session.run(work)

    def _delete(self, function: str) -> list[int]:
        """Delete what one of DuckLake's functions finds to be old enough; return the sizes."""
        old = f"older_than => now() - {_interval(LONGEST_TRANSACTION)}"
        sizes = {file: _size(file) for file in self._files(function, f"{old}, dry_run => true")}
        deleted = self._files(function, old)
        for file in deleted:
            _remove_empty(file.parent)
        # What has become old enough since is counted without its size rather than not at all.
        return [sizes.get(file, 0) for file in deleted]

    def _remove_empty_folders(self) -> None:
        """Remove folders that a killed writer or upkeep left without a file."""
        oldest = (datetime.now(UTC) - LONGEST_TRANSACTION).timestamp()
        for folder in self._settings.data_path.glob(f"*/*/{FOLDER}*"):
            if folder.stat().st_mtime < oldest:
                _remove_empty(folder)

    def _files(self, function: str, options: str) -> list[Path]:
        return [
            Path(row[0]) for row in self._session.rows(f"call ducklake_{function}('{CATALOG}', {options})")
        ]

    def vacuum(self) -> Vacuumed:
        """Vacuum the tables of the catalog in which many rows are dead, by PostgreSQL's own measure.

        PostgreSQL does so by itself where autovacuum runs; after many versions have ended it is worth not to
        wait for that.

        Raises:
            ServiceUnavailable: the catalog does not answer.
        """
        # PostgreSQL counts what a connection did when it ends.
        self._session.close()
        settings = self._settings
        dsn = libpq(settings.host, settings.port, settings.user, settings.database, settings.passfile)
        try:
            with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_SECONDS) as catalog:
                due = catalog.execute(_DUE).fetchall()
                for schema, table, _ in due:
                    catalog.execute(f"vacuum (analyze) {sql_name(schema, table)}".encode())
        except psycopg.OperationalError as error:
            raise ServiceUnavailable(
                f"The lake's catalog on {settings.host}:{settings.port} cannot be vacuumed: "
                f"{str(error).strip().splitlines()[0]}",
                state="the lake is as it was",
                next_command="floe status",
            ) from None
        return Vacuumed(len(due), sum(dead for *_, dead in due))


# The condition of autovacuum's defaults (https://www.postgresql.org/docs/16/routine-vacuuming.html).
_DUE = (
    b"select schemaname, relname, n_dead_tup from pg_stat_user_tables "
    b"where n_dead_tup > 50 + 0.2 * n_live_tup order by relname"
)


def _open(settings: DuckLakeSettings) -> Any:
    connection = connect(settings, threads=2)
    connection.execute(f"set memory_limit = '{_MEMORY}'")
    return connection


def _refuse_too_young(before: datetime) -> None:
    if datetime.now(UTC) - before < LONGEST_TRANSACTION:
        raise TooYoung(
            f"Versions younger than {LONGEST_TRANSACTION.days} day may be needed by a running transaction",
            state="nothing was given up",
            next_command=f"keep at least {LONGEST_TRANSACTION.days} day",
        )


def _moment(when: datetime) -> str:
    return f"{sql_string(when.isoformat())}::timestamptz"


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        # An upkeep that was killed had deleted it.
        return 0


def _remove_empty(folder: Path) -> None:
    """Remove the folder that a file was added in, once it has none; what DuckLake itself makes stays."""
    if folder.name.startswith(FOLDER):
        # It has another file, or another upkeep was faster.
        with suppress(OSError):
            folder.rmdir()


def _interval(length: timedelta) -> str:
    return f"interval '{length.total_seconds():.0f} seconds'"
