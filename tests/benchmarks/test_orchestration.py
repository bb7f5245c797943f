"""What Prefect costs beside the work itself, on a whole stack of the laptop.

`make bench` takes BENCH_SCALE (0.1), the size of the sample company, and BENCH_ROUNDS (3).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from blocks.warehouse import Warehouse
from deployments.run_progress import descendants
from flows.transform import BUILD
from tests.benchmarks.measuring import Measure, await_calm, table, take_turns
from tests.benchmarks.whole_stack import between, ran, say, services, watched
from tests.e2e.conftest import BIN, ROOT, Stack, stack_in

pytestmark = [pytest.mark.bench, pytest.mark.timeout(2 * 3600)]

SCALE = os.environ.get("BENCH_SCALE", "0.1")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PLAIN, FLOW = "dbt build", "transform/marts, from its start"
SERVICES = ("prefect", "worker-airbyte-host", "worker-dbt-host", "worker-metabase-host")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose first run has ended."""
    with stack_in(tmp_path_factory.mktemp("orchestration") / "home") as made:
        made.succeed("floe", "up", "--scale", SCALE)
        made.succeed("floe", "run")
        yield made


def test_dbt_under_the_flow_takes_hardly_longer_than_dbt_alone(stack: Stack, tmp_path: Path) -> None:
    settings = stack.settings()
    environment = {
        **os.environ,
        **Warehouse(target=settings.warehouse, reader_role=settings.reader_role).dbt_environment(),
        "DBT_TARGET_PATH": str(tmp_path / "target"),
        "DBT_LOG_PATH": str(tmp_path / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    folders = ["--project-dir", "dbt", "--profiles-dir", "dbt", "--target", "local"]

    def plain() -> Measure:
        started = time.monotonic()
        subprocess.run(
            [str(BIN / "dbt"), *BUILD, *folders], cwd=ROOT, env=environment, check=True, capture_output=True
        )
        return Measure(time.monotonic() - started)

    def flow() -> Measure:
        with stack.prefect() as client:
            run = ran(client, "transform/marts", everything=True)
        return Measure(between(run.start_time, run.end_time))

    plain()
    results = take_turns({PLAIN: plain, FLOW: flow}, ROUNDS)
    say(table(f"dbt at scale {SCALE}", results, PLAIN))
    assert results[FLOW].seconds <= 1.3 * results[PLAIN].seconds


def test_elt_with_nothing_to_do_adds_little_to_its_parts(stack: Stack) -> None:
    whole, beyond, starts = [], [], []
    with stack.prefect() as client:
        for _ in range(ROUNDS):
            await_calm()
            run = ran(client, "elt/daily")
            parts = [part for part in descendants(client, run.id) if part.start_time]
            whole.append(between(run.start_time, run.end_time))
            beyond.append(whole[-1] - covered((part.start_time, part.end_time) for part in parts))
            starts.append(between(run.created, run.start_time))
            starts += [between(part.created, part.start_time) for part in parts if part.deployment_id]
    say(
        f"elt/daily with nothing to do at scale {SCALE}: {statistics.median(whole):.1f} s; "
        f"{statistics.median(beyond):.1f} s of it no part was running ({min(beyond):.1f}-{max(beyond):.1f}); "
        f"from trigger to Running: {statistics.median(starts):.1f} s ({min(starts):.1f}-{max(starts):.1f})"
    )
    assert statistics.median(beyond) <= 15


def covered(spans: Iterable[tuple[datetime | None, datetime | None]]) -> float:
    """Return the seconds in which at least one of some spans lasted."""
    seconds, reached = 0.0, None
    for start, end in sorted((start, end) for start, end in spans if start and end):
        begin = start if reached is None else max(start, reached)
        seconds += max(0.0, between(begin, end))
        reached = end if reached is None else max(reached, end)
    return seconds


def test_server_workers_and_a_transform_fit_a_small_host(stack: Stack) -> None:
    peak: dict[str, float] = {}
    with stack.prefect() as client, watched(services(stack, *SERVICES), peak):
        ran(client, "transform/marts", everything=True)
    each = ", ".join(f"{name} {peak[name]:.0f} MB" for name in SERVICES)
    say(f"At scale {SCALE} at most {peak['together']:.0f} MB together: {each}")
    assert peak["together"] < 1500
