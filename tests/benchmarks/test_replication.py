"""How fast the stand-in replicates, beside the floor (draining a binary COPY) and beside its peers.

`make bench` takes BENCH_ROWS ("1000000,5000000"), BENCH_ROUNDS (3), BENCH_MEMORY_ROWS (none; 20000000
to see that memory stays constant) and BENCH_PATIENCE (seconds to wait for a calm machine before each run).
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.local.airbyte.job_spec import JobSpec, PostgresAddress, StreamSpec
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.benchmarks.measuring import CALM, Measure, Results, table, take_turns
from tests.conftest import Cluster

pytestmark = [pytest.mark.bench, pytest.mark.timeout(4 * 3600)]

SIZES = [int(rows) for rows in os.environ.get("BENCH_ROWS", "1000000,5000000").split(",")]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MEMORY_ROWS = int(os.environ.get("BENCH_MEMORY_ROWS", "0"))
ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("BENCH_PEERS", ROOT / ".venv" / "peers" / "bin" / "python"))
FLOOR, FULL = "COPY binary, drained", "stand-in, full sync"
DLT = ("dlt, pyarrow", "dlt, connectorx")
_jobs = itertools.count(1)

# Seventeen columns of mixed types, as of a sale; one numeric without a precision, whose values have few
# enough digits for dlt, which refuses more.
CREATE = """
create table sales (
    sale bigint primary key, sold_date int, item int not null, customer int, warehouse int, promotion int,
    quantity int, wholesale numeric(7,2), list_price numeric(7,2), sales_price numeric(7,2),
    net_paid numeric(15,4), rate numeric, ship_date date, channel text, note text, gift boolean,
    changed timestamp not null
)
"""
FILL = """
insert into sales
select i, 2450000 + i % 1800, i % 18000, i * 7 % 100000, i % 15, nullif(i % 300, 0), i % 100,
    (i % 9999) / 100.0, (i * 3 % 99999) / 100.0, (i * 7 % 99999) / 100.0,
    (i % 999999) / 10000.0, round(i / 7.0, 6),
    date '1998-01-01' + (i % 1800)::int, (array['catalog', 'web', 'store'])[i % 3 + 1],
    'order ' || md5(i::text), i % 5 = 0, timestamp '1998-01-01' + i * interval '10 second'
from generate_series({first}::bigint, {last}) i
"""


class Sales:
    """A source with one table of sales, and what is done with it."""

    def __init__(self, cluster: Cluster, extensions: Path, folder: Path, rows: int) -> None:
        self.cluster = cluster
        self.rows = rows
        self._folder = folder
        self._extensions = extensions
        self._database = cluster.create_database("sales")
        self._lake: DuckLakeSettings | None = None
        self.execute(CREATE, FILL.format(first=1, last=rows), "create index on sales (changed)")
        self.execute("vacuum (analyze, freeze) sales", "checkpoint")

    def execute(self, *statements: str) -> None:
        with self.cluster.connect(self._database) as source:
            for statement in statements:
                source.execute(statement.encode())

    def drain(self) -> Measure:
        """Read the table as fast as PostgreSQL gives it, and throw it away."""
        start = time.monotonic()
        command = "copy sales to stdout (format binary)"
        with self.cluster.connect(self._database) as source, source.cursor().copy(command) as copy:
            for _data in copy:
                pass
        return Measure(time.monotonic() - start)

    def full_sync(self) -> Measure:
        """Replicate into an empty lake."""
        name = self.cluster.create_database("lake")
        self._lake = DuckLakeSettings(
            port=self.cluster.port,
            database=name,
            passfile=self.cluster.passfile,
            data_path=self._folder / name,
            extension_directory=self._extensions,
        )
        return self.sync(self.rows)

    def sync(self, written: int) -> Measure:
        """Run one job as the service does, in a process of its own; it must write so many rows."""
        assert self._lake is not None
        job = next(_jobs)
        scratch = self._folder / f"scratch-{job}"
        start = time.monotonic()
        worker = subprocess.Popen(
            [sys.executable, "-m", "deployments.local.airbyte.worker", str(scratch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert worker.stdin is not None and worker.stdout is not None
        with worker.stdin, worker.stdout:
            worker.stdin.write(self._job(job, self._lake).model_dump_json().encode() + b"\n")
            worker.stdin.flush()
            said = [json.loads(line) for line in worker.stdout]
            _pid, status, used = os.wait4(worker.pid, 0)
            worker.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        assert worker.returncode == 0, said
        assert said[-1]["committed"] == written
        return Measure(seconds, used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2))

    def _job(self, job: int, lake: DuckLakeSettings) -> JobSpec:
        stream = StreamSpec(
            namespace="public",
            name="sales",
            sync_mode="incremental_deduped_history",
            cursor_field="changed",
            primary_key=["sale"],
            target_schema="raw",
            target_table="sales",
        )
        source = PostgresAddress(
            host="127.0.0.1",
            port=self.cluster.port,
            database=self._database,
            username="floe",
            password=self.cluster.password,
        )
        return JobSpec(
            job_id=job,
            attempt=0,
            job_type="sync",
            connection_id="bench",
            source=source,
            destination=lake,
            streams=[stream],
        )

    def change_one_percent(self) -> int:
        """Change half a percent of the rows and add as many; return how many rows that are."""
        half = self.rows // 200
        self.execute(
            f"update sales set quantity = quantity + 1, changed = (select max(changed) from sales) "
            f"+ interval '1 second' where sale % {self.rows // half} = 0 and sale <= {self.rows}",
            FILL.format(
                first="(select max(sale) + 1 from sales)", last=f"(select max(sale) + {half} from sales)"
            ).replace(
                "timestamp '1998-01-01' + i * interval '10 second'", "(select max(changed) from sales)"
            ),
            "vacuum analyze sales",
        )
        return 2 * half

    def versions(self) -> int:
        assert self._lake is not None
        with connect(self._lake) as lake:
            row = lake.execute("select count(*) from lake.snapshots()").fetchone()
            assert row is not None
            return int(row[0])

    def peer(self, name: str) -> Callable[[], Measure]:
        """Return a run of a peer in the environment of its own."""

        def run() -> Measure:
            folder = self._folder / f"peer-{next(_jobs)}"
            folder.mkdir()
            url = f"postgresql://floe:{self.cluster.password}@127.0.0.1:{self.cluster.port}/{self._database}"
            script = Path(__file__).parent / "peer_load.py"
            environment = {**os.environ, "DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false"}
            process = subprocess.Popen(
                [str(PEERS), str(script), name.rpartition(" ")[2], url, "sales", str(folder)],
                stdout=subprocess.PIPE,
                env=environment,
            )
            assert process.stdout is not None
            with process.stdout:
                said = process.stdout.read()
                _pid, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, f"{name} failed"
            result: dict[str, Any] = json.loads(said.splitlines()[-1])
            assert result["rows"] == self.rows
            return Measure(result["seconds"], used.ru_maxrss / 1024)

        return run


def show(text: str) -> None:
    print(f"\n{text}\n")  # noqa: T201  (what a benchmark is for)


@pytest.mark.parametrize("rows", SIZES)
def test_speed(cluster: Cluster, extension_directory: Path, tmp_path: Path, rows: int) -> None:
    sales = Sales(cluster, extension_directory, tmp_path, rows)
    contenders: dict[str, Callable[[], Measure]] = {FLOOR: sales.drain}
    if PEERS.exists():
        contenders |= {name: sales.peer(name) for name in DLT}
        if rows <= 1_000_000:
            contenders["data frames, pandas"] = sales.peer("data frames, pandas")
    contenders[FULL] = sales.full_sync
    results = take_turns(contenders, ROUNDS)
    sales.full_sync()
    unchanged = take_turns({"stand-in, nothing changed": lambda: sales.sync(0)}, ROUNDS)
    versions = sales.versions()
    sales.sync(0)
    assert sales.versions() == versions, "a sync without changes has made a version of the lake"
    changed = take_turns({"stand-in, 1 % changed": lambda: sales.sync(sales.change_one_percent())}, ROUNDS)
    results |= unchanged | changed
    title = f"{rows} rows, {os.cpu_count()} cores, medians of {ROUNDS}"
    show(
        table(title, results, FLOOR)
        + ("" if PEERS.exists() else "\nno peers: their environment is not there")
    )

    assert results[FULL].peak_mb < 700
    if max(load for result in results.values() for load in result.loads) >= CALM:
        pytest.skip("the machine was busy, so times say little")
    assert_fast(results)


def assert_fast(results: dict[str, Results]) -> None:
    """Hold the times against what is promised."""
    full = results[FULL].seconds
    assert full <= 2.5 * results[FLOOR].seconds
    assert results["stand-in, 1 % changed"].seconds <= full / 10
    assert results["stand-in, nothing changed"].seconds < 1
    if DLT[0] in results:
        assert min(results[name].seconds for name in DLT) >= 5 * full


@pytest.mark.skipif(not MEMORY_ROWS, reason="BENCH_MEMORY_ROWS is not set")
def test_memory_does_not_grow_with_the_table(
    cluster: Cluster, extension_directory: Path, tmp_path: Path
) -> None:
    peaks = {
        rows: Sales(cluster, extension_directory, tmp_path, rows).full_sync().peak_mb or 0.0
        for rows in (MEMORY_ROWS // 4, MEMORY_ROWS)
    }
    show("\n".join(f"{rows} rows: peak {peak:.0f} MB" for rows, peak in peaks.items()))
    small, large = peaks.values()
    assert large < 700
    assert large <= 1.15 * small
