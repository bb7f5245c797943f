"""How fast a CSV file is validated and loaded, beside the engine alone and beside data frames.

`make bench` takes BENCH_CSV_ROWS ("10000000"; "10000000,50000000" to see that memory stays constant),
BENCH_ROUNDS (3), BENCH_CSV_FILES (10000 small files through the queue) and BENCH_PATIENCE.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from file_stack import Cluster, handler_environment, new_stack, running_store

from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.benchmarks.measuring import Measure, await_calm, table, take_turns

pytestmark = [pytest.mark.bench, pytest.mark.timeout(4 * 3600)]

SIZES = [int(rows) for rows in os.environ.get("BENCH_CSV_ROWS", "10000000").split(",")]
FILES = int(os.environ.get("BENCH_CSV_FILES", "10000"))
ROWS_OF_A_SMALL_FILE = 20
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ROOT = Path(__file__).parents[2]
CONTENDERS = {
    "DuckDB, no validation": "duckdb",
    "Floe": "floe",
    "Floe, keys unique (no order)": "floe-keys",
    "pandas.read_csv + insert": "pandas",
    "pandas in chunks + insert": "pandas-chunks",
}


def stock(folder: Path, rows: int) -> Path:
    """Write a file of the inventory's shape: keys in no order, 5 % of the quantities missing."""
    file = folder / f"stock-{rows}.csv"
    order = np.random.default_rng(7).permutation(rows).astype(np.int32)
    columns = [order // 100_000 + 2_450_000, order // 10 % 10_000 + 1, order % 10 + 1]
    quantity = pa.array(order % 1000, mask=order % 20 == 0)
    made = pa.table([*map(pa.array, columns), quantity], names=["day", "item", "warehouse", "quantity"])
    pyarrow.csv.write_csv(made, file)
    return file


def contender(
    name: str, file: Path, rows: int, new_lake: Callable[[], DuckLakeSettings]
) -> Callable[[], Measure]:
    def run() -> Measure:
        command = [sys.executable, "-m", "tests.benchmarks.csv_contender", name, str(file)]
        done = subprocess.run(
            [*command, new_lake().model_dump_json()], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout)
        assert said["rows"] == rows
        return Measure(said["seconds"], said["peak_mb"], said["cpu_seconds"], said["spilled_mb"])

    return run


@pytest.mark.parametrize("rows", SIZES)
def test_load_beside_peers(rows: int, tmp_path: Path, new_lake: Callable[[], DuckLakeSettings]) -> None:
    file = stock(tmp_path, rows)
    contenders = {title: contender(name, file, rows, new_lake) for title, name in CONTENDERS.items()}
    results = take_turns(contenders, ROUNDS)
    title = f"\n{rows:,} rows, {file.stat().st_size / 1e6:.0f} MB"
    sys.stdout.write(table(title, results, "DuckDB, no validation") + "\n")
    floe, keys = results["Floe"], results["Floe, keys unique (no order)"]
    frames, chunks = results["pandas.read_csv + insert"], results["pandas in chunks + insert"]
    sys.stdout.write(
        f"Floe: {rows / floe.seconds / 1e6:.1f} M rows/s, {rows / keys.seconds / 1e6:.1f} with unique keys; "
        f"pandas takes {frames.seconds / floe.seconds:.1f} x the time and "
        f"{frames.peak_mb / floe.peak_mb:.1f} x the memory, "
        f"in chunks {chunks.seconds / floe.seconds:.1f} x the time\n"
    )
    assert rows / floe.seconds >= 2e6
    assert floe.peak_mb <= 400
    assert frames.seconds >= 3 * floe.seconds
    assert frames.peak_mb >= 2 * floe.peak_mb
    assert chunks.seconds > floe.seconds


def small_file(number: int) -> str:
    rows = (f"{number},{row},{(number + row) % 100}" for row in range(1, ROWS_OF_A_SMALL_FILE + 1))
    return "day_id,item,quantity\n" + "\n".join(rows) + "\n"


def test_many_small_files_through_the_queue(
    cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> None:
    with running_store(tmp_path / "store") as store:
        stack = new_stack(store, cluster, extension_directory, tmp_path)
        keys = [f"landing/stock/{number}.csv" for number in range(1, FILES + 1)]
        start = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key, number: stack.put(key, small_file(number)), keys, range(1, FILES + 1)))
        uploaded = time.monotonic() - start
        with handler_environment(stack):
            await_calm()
            start = time.monotonic()
            stack.drain()
            seconds = time.monotonic() - start
        ((files, rows, distinct, items),) = stack.query(
            "select count(distinct _file_id), count(*), count(distinct (day_id, item)), sum(item)"
            " from raw_files.stock"
        )
        statuses = stack.query("select status, count(*) from ops.csv_files group by status")
        left = stack.depths()
    sys.stdout.write(
        f"\n{FILES:,} files of {ROWS_OF_A_SMALL_FILE} rows through the queue: {seconds:.1f} s, "
        f"{FILES / seconds:.0f} files/s (put into the bucket in {uploaded:.1f} s)\n"
    )
    wanted = FILES * ROWS_OF_A_SMALL_FILE
    assert statuses == [("loaded", FILES)]
    assert (files, rows, distinct) == (FILES, wanted, wanted)
    assert items == FILES * sum(range(1, ROWS_OF_A_SMALL_FILE + 1))
    assert (left.waiting, left.dead) == (0, 0)
