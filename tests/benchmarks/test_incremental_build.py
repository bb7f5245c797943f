"""A build after one business day beside builds of everything, on a whole stack of the laptop.

The peer is dbt alone over the same models as plain tables: no flow, nothing narrowed, nothing published.

`make bench` takes BENCH_DBT_SCALE (1: 11.7 million rows of stock, 2.2 million sales) and BENCH_ROUNDS (3).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blocks.warehouse import Warehouse
from deployments.run_progress import descendants
from flows.transform import BUILD
from tests.benchmarks.measuring import Measure, Results, await_calm, table
from tests.benchmarks.whole_stack import between, ran, say, services, watched
from tests.e2e.conftest import BIN, ROOT, Stack, stack_in

pytestmark = [pytest.mark.bench, pytest.mark.timeout(4 * 3600)]

SCALE = os.environ.get("BENCH_DBT_SCALE", "1")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
# dbt runs on the host of this worker, which has 4 GB.
HOST = "worker-dbt-host"
FULL, DAY, NOTHING = "every table anew", "after one business day", "nothing changed"
PLAIN = "plain tables, dbt alone"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose first run has ended."""
    with stack_in(tmp_path_factory.mktemp("dbt_build") / "home") as made:
        made.succeed("floe", "up", "--scale", SCALE)
        made.succeed("floe", "run", timeout=3600)
        yield made


def transformed(stack: Stack, deployment: str, results: Results, **parameters: object) -> None:
    """Run a deployment, and keep how long its transform took, from its start to the published marts."""
    peak: dict[str, float] = {}
    results.loads.append(await_calm())
    with stack.prefect() as client, watched(services(stack, HOST), peak):
        run = ran(client, deployment, **parameters)
        if deployment != "transform/marts":
            (run,) = (part for part in descendants(client, run.id) if part.name == "transform marts")
    results.runs.append(Measure(between(run.start_time, run.end_time), peak[HOST]))


def plain_tables(folder: Path) -> Path:
    """Copy the project, its models as tables that dbt's own materializations build."""
    project = shutil.copytree(ROOT / "dbt", folder, ignore=shutil.ignore_patterns("target", "logs"))
    shutil.rmtree(project / "macros" / "materializations")
    for model in (project / "models").rglob("*.sql"):
        model.write_text(model.read_text().replace("materialized='incremental'", "materialized='table'"))
    return project


def built_plainly(stack: Stack, project: Path, results: Results) -> None:
    """Build and test a project in schemas of its own, and keep how long dbt's process took."""
    settings, peak = stack.settings(), dict[str, float]()
    environment = {
        **os.environ,
        **Warehouse(target=settings.warehouse, reader_role=settings.reader_role).dbt_environment(),
        "FLOE_DBT_SCHEMA_PREFIX": "plain",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    folders = ["--project-dir", str(project), "--profiles-dir", str(project), "--target", "local"]
    results.loads.append(await_calm())
    started = time.monotonic()
    dbt = subprocess.Popen([str(BIN / "dbt"), *BUILD, *folders], env=environment, stdout=subprocess.DEVNULL)
    with watched({"dbt": psutil.Process(dbt.pid)}, peak):
        assert dbt.wait() == 0, f"see {project}/logs"
    results.runs.append(Measure(time.monotonic() - started, peak["dbt"]))


def test_a_build_after_one_day_takes_a_fifth_of_a_whole_one(stack: Stack, tmp_path: Path) -> None:
    results = {name: Results() for name in (FULL, PLAIN, DAY, NOTHING)}
    project = plain_tables(tmp_path / "dbt")
    for day in range(ROUNDS):
        stack.succeed("floe", "simulate", "--days", "1", "--seed", str(day))
        transformed(stack, "elt/daily", results[DAY])
        transformed(stack, "transform/marts", results[NOTHING])
        transformed(stack, "transform/marts", results[FULL], full_refresh=True)
        built_plainly(stack, project, results[PLAIN])
    (sales,), (stock,) = stack.query(
        "select count(*) from marts.fct_sales union all select count(*) from raw_files.inventory"
    )
    say(table(f"transform at scale {SCALE}: {sales:,} sales, {stock:,} rows of stock", results, FULL))
    assert max(each.peak_mb for each in results.values()) < 2500
    assert statistics.median(run.seconds for run in results[DAY].runs) <= results[FULL].seconds / 5
