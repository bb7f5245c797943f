"""Valid rows on their way from a file to the warehouse: in memory while few, else a Parquet file."""

from __future__ import annotations

import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.verdict import Reject
from lambda_csv_loader.workspace import workspace

IN_MEMORY = 16 << 20
"""Staged rows above this many bytes go to a Parquet file, unless told otherwise."""
_ROW_GROUP = 245_760
FILE_ID = pa.dictionary(pa.int8(), pa.string())


@dataclass
class Staged:
    """The valid rows of one file, in memory or in a Parquet file that `close` removes."""

    table: pa.Table | None
    parquet: Path | None = None
    rows: int = 0
    rejects: list[Reject] = field(default_factory=list)
    partition: str | None = None

    @property
    def bytes(self) -> int:
        """Return how much memory or disk they take."""
        if self.parquet is not None:
            return self.parquet.stat().st_size
        return int(self.table.nbytes) if self.table is not None else 0

    def close(self) -> None:
        """Remove the staged file, if any."""
        if self.parquet is not None:
            self.parquet.unlink(missing_ok=True)

    def drop_rows(self, rows: list[int]) -> None:
        """Leave out the rows with these numbers."""
        unwanted = pa.array(rows, pa.int64())
        if self.table is not None:
            self.table = self.table.filter(pc.invert(pc.is_in(self.table["_file_row"], unwanted)))
            self.rows = self.table.num_rows
        elif self.parquet is not None:
            self._thin(self.parquet, unwanted)

    def _thin(self, path: Path, unwanted: pa.Array) -> None:
        thinned = path.with_suffix(".kept.parquet")
        rows = 0
        try:
            with (
                pq.ParquetFile(path) as source,
                _parquet_writer(thinned, source.schema_arrow) as writer,
            ):
                for batch in source.iter_batches():
                    kept = batch.filter(pc.invert(pc.is_in(batch["_file_row"], unwanted)))
                    rows += kept.num_rows
                    writer.write_batch(kept)
            thinned.replace(path)
        except BaseException:
            thinned.unlink(missing_ok=True)
            raise
        self.rows = rows


class Stage:
    """Collects typed rows of one file."""

    def __init__(
        self, contract: Contract, file_id: str, folder: Path | None, in_memory: int = IN_MEMORY
    ) -> None:
        """Start empty.

        Args:
            contract: gives the columns.
            file_id: goes into every row.
            folder: for the Parquet file; the system's temporary folder when None.
            in_memory: rows above this many bytes go to a Parquet file.
        """
        self._folder, self._in_memory = folder, in_memory
        self._file_id = pa.array([file_id])
        self.schema = pa.schema(
            [pa.field(column.name, column.column_type.arrow, column.nullable) for column in contract.columns]
            + [pa.field("_file_id", FILE_ID), pa.field("_file_row", pa.int64())]
        )
        self._batches: list[pa.RecordBatch] = []
        self._bytes = self._pending = self._rows = 0
        self._path: Path | None = None
        self._writer: pq.ParquetWriter | None = None
        # Writing a row group takes as long as parsing it, so another thread does it, one at a time.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stage")
        self._writing: Future[None] | None = None

    def add(self, columns: list[pa.Array], rows: Any) -> None:
        """Add rows: their typed columns and their numbers in the file."""
        count = len(rows)
        same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), self._file_id)
        batch = pa.record_batch([*columns, same, pa.array(rows)], schema=self.schema)
        self._rows += count
        self._pending += count
        self._bytes += batch.nbytes
        self._batches.append(batch)
        if self._pending >= _ROW_GROUP or (self._writer is None and self._bytes > self._in_memory):
            self._spill()

    def finish(self) -> Staged:
        """Return what was added."""
        if self._writer is None:
            return Staged(pa.Table.from_batches(self._batches, self.schema), rows=self._rows)
        self._spill()
        self._await_writing()
        self._thread.shutdown()
        self._writer.close()
        self._writer = None
        path, self._path = self._path, None
        return Staged(None, path, self._rows)

    def discard(self) -> None:
        """Forget everything that was not handed out by `finish`."""
        self._batches.clear()
        self._thread.shutdown()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _spill(self) -> None:
        if self._bytes <= self._in_memory:
            return
        if self._writer is None:
            # Not by `tempfile`: a lake may take the file over, and then others must be able to read it.
            self._path = workspace(self._folder) / f"staged-{uuid.uuid4().hex}.parquet"
            self._writer = _parquet_writer(self._path, self.schema)
        if self._batches:
            rows = pa.Table.from_batches(self._batches, self.schema)
            self._await_writing()
            self._writing = self._thread.submit(self._writer.write_table, rows)
            self._batches.clear()
            self._pending = 0

    def _await_writing(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # The lake may keep the file as it is: such ones are as quick to read as those that DuckDB writes (zstd
    # takes a fifth longer), and no larger. Row numbers as differences are next to nothing.
    return pq.ParquetWriter(
        path,
        schema,
        compression="lz4",
        use_dictionary=[field.name for field in schema if field.name != "_file_row"],
        column_encoding={"_file_row": "DELTA_BINARY_PACKED"},
        store_decimal_as_integer=True,
    )
