"""A company of many small databases: a copy of the tree that declares them, a stack, and its commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import psutil
import psycopg
import yaml
from psycopg import sql

from deployments.local import postgres
from deployments.local.home import Home
from lambda_csv_loader.ducklake import DuckLakeSettings, connect, libpq

ROOT = Path(__file__).parents[2]
STREAMS, ROWS = 10, 10
ROOMS = ("blocks", "dbt", "deployments", "flows", "lambda_csv_loader")
SAMPLE = ("deployments/connections", "deployments/datasets", "dbt/models", "dbt/snapshots", "dbt/tests")
SERVERS = ("postgres-sources", "postgres-platform", "airbyte", "prefect")
KEPT = ("transform/marts", "maintain/daily", "backfill/manual", "emit/outbox", "publish/metabase")
UP = f"from deployments.local import stack; stack.up(print, only={SERVERS})"
SAMPLING_SECONDS = 0.3
# In a process between: a child's peak begins with the size of the process that started it.
MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, *sys.argv[2:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024], file)
sys.exit(done.returncode)
"""
MB = 1024**2


@dataclass(frozen=True)
class Command:
    """What one command of a person took, and what it said.

    Attributes:
        seconds: by the clock.
        processor_seconds: its own and its children's, on whatever core.
        peak_mb: of its largest process.
    """

    seconds: float
    processor_seconds: float
    peak_mb: float
    said: str


@dataclass
class Watched:
    """How much the processes of a stack had in memory at most, while somebody watched."""

    peaks: dict[str, float] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)

    def see(self, kind: str, sizes: list[float]) -> None:
        """Take note of the processes of one kind that run now."""
        self.peaks[kind] = max([self.peaks.get(kind, 0.0), *sizes])
        self.totals[kind] = max(self.totals.get(kind, 0.0), sum(sizes))


class Company:
    """One stack with `count` databases of `STREAMS` tables of `ROWS` rows, each a connection."""

    def __init__(self, folder: Path, count: int, at_once: int) -> None:
        self.sources = [f"s{number:03}" for number in range(1, count + 1)]
        self.tables = [_table(number) for number in range(STREAMS)]
        self._at_once = at_once
        self._tree = folder / "tree"
        self._root = folder / "home"
        self._workers: list[subprocess.Popen[bytes]] = []
        for room in ROOMS:
            shutil.copytree(ROOT / room, self._tree / room, ignore=shutil.ignore_patterns("__pycache__"))
        for sample in SAMPLE:
            shutil.rmtree(self._tree / sample)
            (self._tree / sample).mkdir()
        self._declare()

    @property
    def home(self) -> Home:
        return Home(self._root)

    def _declare(self) -> None:
        for source in self.sources:
            file = self._tree / "deployments" / "connections" / f"{source}.yaml"
            file.write_text(yaml.safe_dump(_declaration(source)))
        (self._tree / "prefect.yaml").write_text(yaml.safe_dump(_deployments(self.sources, self._at_once)))
        models = self._tree / "dbt" / "models"
        (models / "marts").mkdir()
        (models / "marts" / "mart_rows.sql").write_text(_mart(self.sources))
        (models / "marts" / "mart_rows.yml").write_text(MART)
        (models / "sources.yml").write_text(yaml.safe_dump(_sources(self.sources)))

    def environment(self) -> dict[str, str]:
        """Return what a person of this company has set."""
        password = json.loads(self.home.secrets_file.read_text())["postgres_password"]
        port = json.loads(self.home.ports_file.read_text())["postgres-sources"]
        of_sources = {
            f"FLOE_SOURCES__{source.upper()}__{name}": value
            for source in self.sources
            for name, value in {
                "HOST": "127.0.0.1",
                "PORT": str(port),
                "DATABASE": source,
                "USER": postgres.SUPERUSER,
                "PASSWORD": password,
            }.items()
        }
        return {**self._outside(), **of_sources}

    def _outside(self) -> dict[str, str]:
        ours = {"FLOE_HOME": str(self._root), "PYTHONPATH": str(self._tree), "COLUMNS": "120"}
        return {**os.environ, **ours}

    def start(self) -> None:
        """Start the servers, make the databases, save the blocks that do not belong to a connection."""
        subprocess.run(
            [sys.executable, "-c", UP], cwd=self._tree, env=self._outside(), check=True, capture_output=True
        )
        port = json.loads(self.home.ports_file.read_text())["postgres-sources"]
        for source in self.sources:
            postgres.create_database("127.0.0.1", port, source, self.home.passfile)
            dsn = libpq("127.0.0.1", port, postgres.SUPERUSER, source, self.home.passfile)
            with psycopg.connect(dsn, autocommit=True) as database:
                for name in self.tables:
                    table = sql.Identifier(name)
                    database.execute(sql.SQL(CREATE).format(table, table, sql.Literal(ROWS)))
        self.floe("blocks", "register")

    def start_workers(self) -> None:
        """Start what the hosts run: the replications' pool takes as many runs as are to be at once."""
        environment = self._outside()
        script = (
            "import os, sys; from deployments.local import stack; stack.enter_if_running();"
            f"os.environ['FLOE_STACK'] = {str(self._root)!r};"
            "os.execv(sys.executable, [sys.executable, '-m', 'deployments.worker', *sys.argv[1:]])"
        )
        for pool, limit in {"airbyte-host": self._at_once, "dbt-host": 4}.items():
            log = (self.home.logs / f"worker-{pool}.log").open("wb")
            command = [sys.executable, "-c", script, "--pool", pool, "--limit", str(limit)]
            worker = subprocess.Popen(
                command, cwd=self._tree, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            log.close()
            self._workers.append(worker)

    def stop(self) -> None:
        """Stop everything, whatever its state."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.wait()
        self.floe("down")

    def floe(self, *arguments: str) -> Command:
        """Run a command of a person, which must succeed."""
        has_stack = self.home.ports_file.exists()
        started = time.monotonic()
        used = self._root / "used.json"
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(used), "-m", "deployments.cli", *arguments],
            cwd=self._tree,
            env=self.environment() if has_stack else self._outside(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"floe {' '.join(arguments)}: {done.stdout[-3000:]}"
        seconds = time.monotonic() - started
        processor_seconds, peak_mb = json.loads(used.read_text())
        return Command(seconds, processor_seconds, peak_mb, done.stdout)

    def servers_seconds(self) -> float:
        """Return the processor time that Prefect's server and the stand-in have used, children included."""
        used = 0.0
        for process in self._processes():
            if (kind := _kind(process)) and kind[0] in ("prefect server", "stand-in"):
                times = process.cpu_times()
                used += times.user + times.system + times.children_user + times.children_system
        return used

    def most_at_once(self, flow: str) -> int:
        """Return how many runs of a flow were under way at the same time."""
        file = self.home.prefect / "prefect.db"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            spans = database.execute(
                "select run.start_time, run.end_time from flow_run run join flow on flow.id = run.flow_id"
                " where flow.name = ? and run.start_time is not null",
                [flow],
            ).fetchall()
        moments = [(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans]
        return max(accumulate(step for _, step in sorted(moments)))

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                if process.environ().get("FLOE_STACK") == str(self._root):
                    yield process
            except psutil.Error:
                continue

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """Watch the memory of the stack's processes while the block runs."""
        watched, over = Watched(), threading.Event()

        def watch() -> None:
            while not over.wait(SAMPLING_SECONDS):
                sizes: dict[str, list[float]] = {}
                for process in self._processes():
                    if kind := _kind(process):
                        sizes.setdefault(kind[0], []).append(kind[1])
                for name, seen in sizes.items():
                    watched.see(name, seen)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield watched
        finally:
            over.set()
            thread.join()

    def rows(self) -> dict[str, int]:
        """Return the rows of every raw table that has rows of its own source, by `source.table`."""
        counts: dict[str, int] = {}
        for source in self.sources:
            query = "\nunion all ".join(
                f"select '{source}.{table}', count(*) from raw_{source}.{table} where origin = '{source}'"
                for table in self.tables
            )
            # In one query, or over one connection, thousands of tables take more memory than there is.
            with connect(self._warehouse(), read_only=True) as lake:
                counts |= dict(lake.execute(query).fetchall())
        return counts

    def mart(self) -> dict[str, int]:
        """Return what the published mart says of each source."""
        with connect(self._warehouse(), read_only=True) as lake:
            return dict(lake.execute("select source, row_count from marts.mart_rows").fetchall())

    def _warehouse(self) -> DuckLakeSettings:
        lines = (line.split("=", 1) for line in self.home.stack_env.read_text().splitlines())
        settings = {
            name.removeprefix("FLOE_WAREHOUSE__").lower(): value.strip("'")
            for name, value in lines
            if name.startswith("FLOE_WAREHOUSE__")
        }
        return DuckLakeSettings.model_validate(settings)


CREATE = """
create table {} (id int primary key, origin text not null default current_database(), note text,
    amount numeric(9,2), updated_at timestamptz not null default now());
insert into {} (id, note, amount) select i, md5(i::text), i from generate_series(1, {}) i
"""
MART = """
models:
  - name: mart_rows
    description: How many rows the first table of each source has.
    columns:
      - {name: source, data_type: varchar, description: the source}
      - {name: row_count, data_type: bigint, description: its rows}
"""


def _table(number: int) -> str:
    return f"t{number:02}"


def _declaration(source: str) -> dict[str, Any]:
    incremental = {"sync_mode": "incremental_deduped_history", "cursor": "updated_at", "primary_key": ["id"]}
    full = {"sync_mode": "full_refresh_overwrite", "primary_key": ["id"]}
    return {
        "source": source,
        "owner": f"team {source}",
        "destination_schema": f"raw_{source}",
        "fresh_within": "26h",
        "streams": [
            {"name": _table(number), **(full if number >= STREAMS - 2 else incremental)}
            for number in range(STREAMS)
        ],
    }


def _deployments(sources: list[str], at_once: int) -> dict[str, Any]:
    """Return the shipped `prefect.yaml` with these sources instead of the sample's."""
    shipped = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    named = {_named(each): each for each in shipped["deployments"]}
    daily = named["elt/daily"]
    daily["parameters"] |= {"sources": sources, "datasets": [], "dashboards": False}
    deployments = [daily, *(named[name] for name in KEPT)]
    for flow in ("replicate", "reconcile"):
        pattern = named[f"{flow}/crm"]
        deployments += [{**pattern, "name": name, "parameters": {"source": name}} for name in sources]
    shipped.pop("definitions")
    return {**shipped, "deployments": deployments}


def _named(deployment: dict[str, Any]) -> str:
    return f"{deployment['entrypoint'].rsplit(':', 1)[1]}/{deployment['name']}"


def _mart(sources: list[str]) -> str:
    return "\nunion all ".join(
        f"select '{source}' as source, count(*) as row_count"
        f" from {{{{ read_source('{source}', 't00', key=['id'], cursor='updated_at') }}}}"
        for source in sources
    )


def _sources(sources: list[str]) -> dict[str, Any]:
    return {
        "sources": [
            {"name": source, "schema": f"raw_{source}", "tables": [{"name": "t00"}]} for source in sources
        ],
        "groups": [{"name": "analytics", "owner": {"name": "analysts", "email": "analysts@floe.example"}}],
    }


def _kind(process: psutil.Process) -> tuple[str, float] | None:
    """Return what a process of the stack is, and its memory."""
    try:
        command = " ".join(process.cmdline())
        kind = next((kind for kind, pattern in KINDS.items() if re.search(pattern, command)), None)
        if kind == "flow run":
            pools = [" ".join(parent.cmdline()) for parent in process.parents()]
            kind = "replicate run" if any(REPLICATING in pool for pool in pools) else "elt run"
        return (kind, process.memory_info().rss / MB) if kind else None
    except psutil.Error:
        return None


REPLICATING = "--pool airbyte-host"
KINDS = {
    "prefect server": r"deployments\.local\.prefect_server",
    "stand-in": r"deployments\.local\.airbyte --",
    "sync": r"deployments\.local\.airbyte\.worker",
    "worker": r"deployments\.worker",
    "flow run": r"prefect\.engine",
}
