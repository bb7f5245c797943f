"""Make a staged Parquet file one of a lake's own, instead of copying its rows into another.

https://ducklake.select/docs/stable/duckdb/metadata/adding_files. The file lies in the table's folder before
the lake is told of it. What the file cannot know is the time of the transaction that publishes it: that
stands in the name of its folder, as Hive's partitions have it, and is the column `_loaded_at` of its rows.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ducklake import CATALOG, sql_name, sql_string
from lambda_csv_loader.ducklake_tables import declared_kinds, table_columns
from lambda_csv_loader.session import Session
from lambda_csv_loader.staging import Staged
from lambda_csv_loader.writer import WarehouseUnavailable

FOLDER = "_loaded_at="
_CATALOG = f"__ducklake_metadata_{CATALOG}"
# Options of a lake that say nothing about how its files are written.
_PLAIN = "('version', 'created_by', 'data_path')"
# What DuckDB reads in a path as more than a name: a column's value, or a pattern of names.
_SPEAKING = frozenset("=*?[")


class AddedFiles:
    """The files that one transaction gives to a lake; made anew for each try of it.

    Until the commit is sent, `take_back` removes them. After that nobody does but the lake's upkeep, which
    knows the files that are in use: the answer to a commit may be lost.
    """

    def __init__(self, session: Session, data_path: Path) -> None:
        """Start with none.

        Args:
            session: inside `run`, with a transaction open.
            data_path: of the lake.
        """
        self._session, self._data_path = session, data_path
        self._added: list[Path] = []

    def folder_of(self, contract: Contract) -> Path | None:
        """Return the table's folder; None where adding a file would differ from inserting its rows.

        That is where the table has other columns or types than the contract (an insert casts, or leaves to
        their default what a file lacks) or a column that must not be null and may be (an insert refuses
        nulls), where its files are partitioned, sorted, encrypted or written in a manner of their own, and
        where its path has signs that DuckDB reads as more than a name.
        """
        columns = table_columns(self._session, contract)
        optional = {column.name for column in contract.columns if column.nullable}
        if {name: column.kind for name, column in columns.items()} != declared_kinds(contract):
            return None
        if any(name in optional and not column.nullable for name, column in columns.items()):
            return None
        found = self._session.rows(
            f"select s.path, t.path from {_CATALOG}.ducklake_table as t"
            f" inner join {_CATALOG}.ducklake_schema as s on s.schema_id = t.schema_id"
            f" where t.table_name = {sql_string(contract.dataset)} and t.end_snapshot is null"
            f" and s.schema_name = {sql_string(contract.schema_name)} and s.end_snapshot is null"
            " and t.path_is_relative and s.path_is_relative"
            f" and t.table_id not in ({_tables_in('ducklake_partition_info')})"
            f" and t.table_id not in ({_tables_in('ducklake_sort_info')})"
            f" and not exists (select 1 from {_CATALOG}.ducklake_metadata"
            f" where key not in {_PLAIN} and (key, value) <> ('encrypted', 'false'))"
        )
        if len(found) != 1:
            return None
        folder = self._data_path / found[0][0] / found[0][1]
        return None if _SPEAKING & set(str(folder)) else folder

    def add(self, contract: Contract, staged: Staged, folder: Path) -> int:
        """Give a staged file to the lake.

        Args:
            contract: of its dataset.
            staged: the rows; the file stays where it is, too.
            folder: what `folder_of` returned.

        Returns:
            How many rows the lake says it has.

        Raises:
            WarehouseUnavailable: the file cannot be put there, or does not hold what was staged.
        """
        if staged.parquet is None or not staged.rows:
            return 0
        ((now,),) = self._session.rows("select strftime(now() at time zone 'UTC', '%Y-%m-%d %H:%M:%S.%f+00')")
        file = folder / (FOLDER + quote(now, safe="")) / f"{uuid.uuid4().hex}.parquet"
        self._added.append(file)
        _place(staged.parquet, file)
        if (rows := pq.read_metadata(file).num_rows) != staged.rows:
            raise WarehouseUnavailable(
                f"The staged file holds {rows} rows where {staged.rows} were staged",
                state="nothing was committed; it is tried again",
            )
        path = sql_string(file)
        self._session.execute(
            f"call ducklake_add_data_files('{CATALOG}', {sql_string(contract.dataset)}, {path}, "
            f"schema => {sql_string(contract.schema_name)}, hive_partitioning => true)"
        )
        table = sql_name(contract.schema_name, contract.dataset)
        ((count,),) = self._session.rows(f"select count(*) from {table} where filename = {path}")
        return int(count)

    def take_back(self) -> None:
        """Remove the files again; only while no commit was sent."""
        for file in self._added:
            file.unlink(missing_ok=True)
            try:
                file.parent.rmdir()
            except OSError:
                # It has other files, or was not even made.
                continue


def _place(source: Path, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, file)
        except OSError:
            # Another file system, or one that knows no links.
            shutil.copyfile(source, file)
        # The upkeep goes by this: an older file that no version names is left over.
        os.utime(file)
    except OSError as error:
        raise WarehouseUnavailable(
            f"{file.parent} cannot take a file: {error.strerror}",
            state="nothing was committed; it is tried again",
            next_command=f"df {file.parent.parent}",
        ) from None


def _tables_in(table: str) -> str:
    return f"select table_id from {_CATALOG}.{table} where end_snapshot is null"
