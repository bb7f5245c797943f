"""The key of a file's rows: proved unique on the way where rows are sorted by it, else looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lambda_csv_loader.ducklake import sql_name, sql_string
from lambda_csv_loader.staging import Staged
from lambda_csv_loader.workspace import engine_limits

_MEMORY = "128MB"


class KeyOrder:
    """Tells whether keys have come in strictly ascending order so far, which proves them unique.

    Exports are mostly sorted by their key; then no row has to be kept for the check.
    """

    def __init__(self, places: Sequence[int]) -> None:
        """Start with no row.

        Args:
            places: where the key's columns stand among the columns.
        """
        self._places = list(places)
        self._last: list[pa.Scalar] | None = None
        self.ascending = bool(places)

    def add(self, columns: Sequence[pa.Array]) -> None:
        """Look at the next rows."""
        if not self.ascending or not len(columns[0]):
            return
        key = [columns[place] for place in self._places]
        if self._last is not None:
            first = [column[0] for column in key]
            self.ascending = [one.as_py() for one in self._last] < [one.as_py() for one in first]
        self._last = [column[-1] for column in key]
        if not self.ascending or len(key[0]) == 1:
            return
        rising, equal = None, None
        for column in key:
            before, after = column[:-1], column[1:]
            more = pc.greater(after, before)
            rising = more if rising is None else pc.or_(rising, pc.and_(equal, more))
            same = pc.equal(after, before)
            equal = same if equal is None else pc.and_(equal, same)
        self.ascending = bool(pc.all(rising).as_py())


def engine_config(memory: str, folder: Path | None) -> dict[str, str | bool | int | float | list[str]]:
    """Return the settings of a DuckDB for the two cores of a Lambda function."""
    return {**engine_limits(memory, folder), "threads": 2}


@dataclass(frozen=True)
class Duplicates:
    """Rows whose key an earlier row of the file has: how many, and the first of them with the key."""

    count: int
    rows: list[tuple[int, str]]


def duplicate_rows(
    staged: Staged, key: Sequence[str], limit: int, *, folder: Path | None = None
) -> Duplicates:
    """Find rows with a key that an earlier row has; for a large file DuckDB does it, spilling to disk.

    Args:
        staged: the rows.
        key: the key's columns.
        limit: how many rows to name (at least 20).
        folder: where it spills to; the system's temporary folder when None.
    """
    if staged.table is not None:
        return _duplicates_in_memory(staged.table, list(key), max(limit, 20))
    import duckdb

    columns = ", ".join(sql_name(name) for name in key)
    source = f"read_parquet({sql_string(staged.parquet)})"
    with duckdb.connect(config=engine_config(_MEMORY, folder)) as engine:
        engine.execute("set preserve_insertion_order = false")
        distinct = engine.execute(
            f"select count(*) from (select distinct {columns} from {source})"
        ).fetchall()
        count = staged.rows - int(distinct[0][0])
        if not count:
            return Duplicates(0, [])
        found = engine.execute(
            f"with twice as (select {columns}, min(_file_row) as first_row from {source} "
            "group by all having count(*) > 1) "
            f"select _file_row, concat_ws(', ', {columns}) from {source} inner join twice using ({columns}) "
            f"where _file_row > first_row order by _file_row limit {max(limit, 20)}"
        ).fetchall()
    return Duplicates(count, [(int(row), str(value)) for row, value in found])


def _duplicates_in_memory(table: pa.Table, key: list[str], limit: int) -> Duplicates:
    firsts = (
        table.select([*key, "_file_row"]).group_by(key, use_threads=False).aggregate([("_file_row", "min")])
    )
    count = table.num_rows - firsts.num_rows
    if not count:
        return Duplicates(0, [])
    later = pc.invert(pc.is_in(table["_file_row"], firsts["_file_row_min"].combine_chunks()))
    rows = table.filter(later).select([*key, "_file_row"]).slice(0, limit).to_pylist()
    return Duplicates(count, [(row["_file_row"], ", ".join(str(row[name]) for name in key)) for row in rows])
