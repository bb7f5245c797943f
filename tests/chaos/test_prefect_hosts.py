"""Death and lateness with a real Prefect server, real workers and the shipped automations.

Killed workers, a killed server, cancelled, overlapping and overdue runs: slots are freed, nothing is done
twice, and every run comes to an end that says what happened.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import (
    ConcurrencyOptions,
    FlowRun,
    State,
    StateType,
)
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from blocks.own_deployments import OURS
from blocks.settings import ROOT
from deployments.automations import AUTOMATIONS_YAML, apply_automations, declared_automations
from deployments.prefect_objects import ensure_limits
from flows.schedules import AUTO_SCHEDULED
from tests.prefect_host import PrefectHost, until

pytestmark = pytest.mark.chaos

POOL = "host"
# Heartbeats come every 30 seconds.
SILENCE_SECONDS = 40
_numbers = count(1)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectHost]:
    """A server with the shipped automations, but for a shorter silence."""
    home = tmp_path_factory.mktemp("host")
    host = PrefectHost(home)
    shipped = AUTOMATIONS_YAML.read_text()
    assert shipped.count("within: 90") == 1
    (home / "automations.yaml").write_text(shipped.replace("within: 90", f"within: {SILENCE_SECONDS}"))
    with temporary_settings({PREFECT_API_URL: host.api, PREFECT_HOME: home}):
        try:
            host.serve()
            ensure_limits()
            apply_automations(declared_automations(home / "automations.yaml"))
            with get_client(sync_client=True) as client:
                client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
            yield host
        finally:
            host.stop()


def deployed(
    flow: str,
    name: str,
    parameters: dict[str, object],
    pool: str = POOL,
    file: str = "tests/chaos/hosted_flows.py",
) -> UUID:
    """Make a deployment as `prefect.yaml` has them."""
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            client.create_flow_from_name(flow),
            name=name,
            work_pool_name=pool,
            entrypoint=f"{file}:{flow}",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}],
            parameters=parameters,
            tags=[OURS, "resume"],
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy="ENQUEUE"),
        )


class Hosted:
    """A deployment of the flow `hosted`, and the folder it writes to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = deployed("hosted", f"number {next(_numbers)}", {"folder": str(folder)})

    def run(
        self, name: str, state: State | None = None, tags: tuple[str, ...] = (), **parameters: bool
    ) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.create_flow_run_from_deployment(
                self.id, name=name, state=state, tags=tags, parameters=parameters
            )

    def go(self) -> None:
        (self.folder / "go").touch()

    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def holders(self) -> list[list[int]]:
        """Return the process and its child, for each start that held the slot."""
        return [list(map(int, line.split()[1:])) for line in self.notes() if line.startswith("holds")]


@pytest.fixture
def hosted(host: PrefectHost, tmp_path: Path) -> Iterator[Hosted]:
    made = Hosted(tmp_path)
    yield made
    made.go()
    with get_client(sync_client=True) as client:
        client.delete_deployment(made.id)


@pytest.fixture
def worker(host: PrefectHost) -> Iterator[None]:
    process = host.work(POOL)
    yield
    process.terminate()
    process.wait(30)


def state_of(run: FlowRun) -> State:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run.id).state
    assert state is not None
    return state


def ended(run: FlowRun) -> State:
    return until(lambda: (state := state_of(run)).is_final() and not state.is_crashed() and state)


def history(run: FlowRun) -> list[str]:
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(run.id)
    return [state.name or "" for state in sorted(states, key=lambda state: state.timestamp)]


def held() -> dict[str, int]:
    """Return the slots that are taken, by the name of their limit."""
    with get_client(sync_client=True) as client:
        limits = client.read_global_concurrency_limits(limit=100, offset=0)
    return {limit.name: limit.active_slots for limit in limits if limit.active_slots}


def gone(*processes: int) -> bool:
    return not any(
        psutil.pid_exists(each) and psutil.Process(each).status() != psutil.STATUS_ZOMBIE
        for each in processes
    )


def test_after_kill_9_of_worker_and_run_another_worker_goes_on_with_the_run(
    host: PrefectHost, hosted: Hosted
) -> None:
    first = host.work(POOL)
    run = hosted.run("killed")
    ((process, child),) = until(hosted.holders)
    for each in (first.pid, process, child):
        os.kill(each, signal.SIGKILL)
    first.wait(30)
    other = host.work(POOL)
    assert ended(run).name == "Completed"
    passed = history(run)
    assert passed.index("Crashed") < passed.index("AwaitingRetry") < passed.index("Completed")
    # The first step is not done again, and what waited before the slot goes on behind it.
    step, _, done = hosted.notes()
    assert (step, done) == ("first step, beats every 30 s", "done killed")
    other.terminate()
    other.wait(30)
    until(lambda: not held())


def test_after_kill_9_of_the_whole_machine_the_run_goes_on_once(host: PrefectHost, hosted: Hosted) -> None:
    first = host.work(POOL)
    run = hosted.run("with its machine")
    ((process, child),) = until(hosted.holders)
    for each in (host.server.pid, first.pid, process, child):
        os.kill(each, signal.SIGKILL)
    host.server.wait(30)
    first.wait(30)
    host.serve()
    other = host.work(POOL)
    assert ended(run).name == "Completed"
    passed = history(run)
    assert passed.index("Crashed") < passed.index("AwaitingRetry") < passed.index("Completed")
    assert (passed.count("Crashed"), passed.count("Running")) == (1, 2)
    assert hosted.notes()[2:] == ["done with its machine"]
    other.terminate()
    other.wait(30)
    until(lambda: not held())


@pytest.mark.usefixtures("worker")
def test_a_run_outlives_kill_9_of_the_server(host: PrefectHost, hosted: Hosted) -> None:
    run = hosted.run("outlives")
    ((_, child),) = until(hosted.holders)
    (server,) = [
        each for each in psutil.process_iter() if str(host.api.split(":")[-1][:-4]) in each.cmdline()
    ]
    server.kill()
    server.wait(30)
    # It wants to give back its slot and to say that it is done while nobody listens.
    hosted.go()
    until(lambda: gone(child))
    host.serve()
    assert ended(run).name == "Completed"
    assert history(run).count("Running") == 1
    # Its lease, which nobody could give back, has ended; the killed server's successor knows of it.
    until(lambda: not held())


@pytest.mark.usefixtures("worker")
def test_a_run_that_lives_through_a_longer_outage_of_the_server_is_not_called_crashed(
    host: PrefectHost, hosted: Hosted
) -> None:
    run = hosted.run("lives through it", holding=False)
    until(hosted.holders)
    host.server.kill()
    host.server.wait(30)
    time.sleep(SILENCE_SECONDS)
    host.serve()
    # Until then it has told that it lives.
    time.sleep(SILENCE_SECONDS + 10)
    hosted.go()
    assert ended(run).name == "Completed"
    assert "Crashed" not in history(run)
    until(lambda: not held())


@pytest.mark.usefixtures("worker")
def test_a_cancelled_run_ends_with_all_its_processes_and_the_next_can_start(hosted: Hosted) -> None:
    run = hosted.run("cancelled")
    ((process, child),) = until(hosted.holders)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, State(type=StateType.CANCELLING))
    assert ended(run).name == "Cancelled"
    until(lambda: gone(process, child))
    hosted.go()
    assert ended(hosted.run("the next")).name == "Completed"


@pytest.mark.usefixtures("worker")
def test_a_second_trigger_waits_for_the_first_run(hosted: Hosted) -> None:
    first = hosted.run("first")
    until(hosted.holders)
    second = hosted.run("second")
    until(lambda: state_of(second).name == "AwaitingConcurrencySlot")
    assert len(hosted.holders()) == 1
    hosted.go()
    assert [ended(first).name, ended(second).name] == ["Completed", "Completed"]
    kinds = [line.split()[0] for line in hosted.notes()]
    assert kinds == ["first", "holds", "done"] * 2


def test_of_five_daily_runs_that_found_no_worker_one_runs_and_four_say_why_not(
    host: PrefectHost, hosted: Hosted
) -> None:
    now = datetime.now(UTC)
    due = {days: now - timedelta(days=days) for days in (5, 4, 3, 2, 1)}
    runs = [
        hosted.run(
            f"{days} days ago",
            State(type=StateType.SCHEDULED, state_details={"scheduled_time": then}),
            (AUTO_SCHEDULED,),
        )
        for days, then in due.items()
    ]
    hosted.go()
    worker = host.work(POOL)
    states = [ended(run) for run in runs]
    worker.terminate()
    worker.wait(30)
    assert [state.name for state in states] == ["Skipped"] * 4 + ["Completed"]
    assert all((state.message or "").startswith("1 days ago, scheduled for ") for state in states[:4])
    assert [line for line in hosted.notes() if line.startswith("done")] == ["done 1 days ago"]


@pytest.mark.usefixtures("worker")
def test_elt_in_its_pools_only_slot_waits_for_no_slot_and_takes_its_replication_along_when_cancelled(
    host: PrefectHost, hosted: Hosted
) -> None:
    small = "a host with one slot"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=small, type="process"))
    asked = {"sources": ["here"], "datasets": [], "dashboards": False}
    daily = deployed("elt", "daily", asked, small, "flows/elt.py")
    child = deployed("replicate", "here", {"folder": str(hosted.folder)})
    worker = host.work(small, limit=1)
    with get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(daily)
        ((process, its_child),) = until(hosted.holders)
        assert state_of(run).name == "Running"
        client.set_flow_run_state(run.id, State(type=StateType.CANCELLING))
        assert ended(run).name == "Cancelled"
        until(lambda: gone(process, its_child))
        (replication,) = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[child]))
        )
        assert ended(replication).name == "Cancelled"
        for each in (daily, child):
            client.delete_deployment(each)
    worker.terminate()
    worker.wait(30)
    until(lambda: not held())
