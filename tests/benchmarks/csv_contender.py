"""Load one CSV file into a lake in a process of its own: `csv_contender.py NAME FILE LAKE` (LAKE is JSON).

Prints the seconds it took, imports left out, the rows that arrived, the peaks of memory and of spilled bytes.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from lambda_csv_loader.contract import Column, Contract
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.ducklake_writer import DuckLakeWriter
from lambda_csv_loader.ledger import Candidate, ledger_row
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.validate import validate
from tests.benchmarks.measuring import looking

COLUMNS = ("day", "item", "warehouse", "quantity")
TABLE = "lake.raw_files.stock"
CHUNK = 500_000


class StoredFile:
    """A file as the loader reads an object."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def open(self) -> BinaryIO:
        return self._path.open("rb")


def contract(*, keys: bool) -> Contract:
    """Return the contract of the file, with or without its unique key."""
    columns = [Column(name=name, type="integer", nullable=name == "quantity") for name in COLUMNS]
    key = list(COLUMNS[:3]) if keys else []
    return Contract(dataset="stock", owner="bench", mode="append", columns=columns, primary_key=key)


def floe(path: Path, lake: DuckLakeSettings, *, keys: bool) -> None:
    """Validate and publish, as the Lambda function does with an object."""
    with tempfile.TemporaryDirectory() as folder, looking(partial(look_for_spills, Path(folder)), 0.02):
        ref = ObjectRef(bucket="b", key=path.name, etag="e", last_modified=datetime.now(UTC))
        declared = contract(keys=keys)
        report = validate(StoredFile(path), declared, ref.file_id, folder=Path(folder))
        row = ledger_row(ref, "stock", "loaded", report=report)
        writer = DuckLakeWriter(lake)
        writer.publish("stock", declared, [Candidate(row, report.staged)], lambda rows: [None] * len(rows))
        writer.close()


spilled: list[int] = []
"""Bytes that DuckDB held in its temporary folder, looked at again and again."""


def look_for_spills(folder: Path) -> None:
    """Note what DuckDB has spilled below a folder."""
    spilled.append(sum(_on_disk(file) for file in folder.glob("*/spill-*/*")))


def _on_disk(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def engine(path: Path, lake: DuckLakeSettings) -> None:
    """Let DuckDB load the file as it is, without a check."""
    with connect(lake) as connection:
        connection.execute("create schema if not exists lake.raw_files")
        types = ", ".join(f"'{name}': 'INTEGER'" for name in COLUMNS)
        connection.execute(
            f"create table {TABLE} as select * from read_csv('{path}', header=true, columns={{{types}}})"
        )


def data_frames(path: Path, lake: DuckLakeSettings, *, chunk: int | None) -> None:
    """Load through data frames, whole or in chunks."""
    with connect(lake) as connection:
        connection.execute("create schema if not exists lake.raw_files")
        types = ", ".join(f"{name} integer" for name in COLUMNS)
        connection.execute(f"create table {TABLE} ({types})")
        read = pd.read_csv(path, chunksize=chunk) if chunk else [pd.read_csv(path)]
        connection.execute("begin")
        for frame in read:
            connection.register("frame", frame)
            connection.execute(f"insert into {TABLE} select * from frame")
        connection.execute("commit")


CONTENDERS: dict[str, Callable[[Path, DuckLakeSettings], None]] = {
    "floe": lambda path, lake: floe(path, lake, keys=False),
    "floe-keys": lambda path, lake: floe(path, lake, keys=True),
    "duckdb": engine,
    "pandas": lambda path, lake: data_frames(path, lake, chunk=None),
    "pandas-chunks": lambda path, lake: data_frames(path, lake, chunk=CHUNK),
}


def peak_mb() -> float:
    """Return the most memory this process ever held; what getrusage says begins with its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run one contender and print what it took."""
    name, file, settings = sys.argv[1:]
    lake = DuckLakeSettings.model_validate_json(settings)
    start, cpu = time.monotonic(), time.process_time()
    CONTENDERS[name](Path(file), lake)
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    peak = peak_mb()
    with connect(lake, read_only=True) as connection:
        ((rows,),) = connection.execute(f"select count(*) from {TABLE}").fetchall()
    said = {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak, "rows": rows}
    json.dump(said | {"spilled_mb": max(spilled) / 1e6 if spilled else None}, sys.stdout)


if __name__ == "__main__":
    main()
