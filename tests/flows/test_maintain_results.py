"""The results of old runs are removed with them, on a real Prefect server; whoever stays can go on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from prefect import Flow, flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.filesystems import LocalFileSystem
from prefect.flow_engine import run_flow
from prefect.results import ResultRecordMetadata  # type: ignore[attr-defined]
from prefect.settings import PREFECT_DEFAULT_RESULT_STORAGE_BLOCK, PREFECT_HOME, temporary_settings
from prefect.states import AwaitingRetry, Completed

from blocks.errors import ConfigurationError
from blocks.run_history import Pruned, prune
from flows.elt import elt
from tests.old_runs import deployed, keep_result, make_older
from tests.prefect_host import until

NOBODY = {"sources": ["nobody"], "datasets": [], "dashboards": False}


@task
def first_step(folder: str) -> str:
    """Be done once, however often the run is started."""
    with (Path(folder) / "notes").open("a") as notes:
        notes.write("first step\n")
    return "done"


@flow
def part(folder: str) -> str:
    """Stands for a flow that `elt` calls."""
    with (Path(folder) / "notes").open("a") as notes:
        notes.write("part\n")
    return "done"


@flow(persist_result=True)
def goes_on(folder: str) -> str:
    """Fail unless told to go, as `elt` and `backfill` may, with what was done before kept."""
    first_step(folder)
    part(folder)
    if not (Path(folder) / "go").exists():
        raise ValueError("not yet")
    return "done"


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(client: SyncPrefectClient) -> Iterator[UUID]:
    """A deployment of the flow `goes_on`, of Floe's."""
    made = deployed(goes_on)
    yield made
    client.delete_deployment(made)


def files() -> set[Path]:
    """Return what the local storage holds."""
    return set((PREFECT_HOME.value() / "storage").glob("*"))


def ended(client: SyncPrefectClient, deployment: UUID, of: Flow[..., object], **parameters: object) -> UUID:
    """Run a deployment and return the run's id, once the server has all that it was told."""
    run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
    started_again(client, run.id, of)
    return run.id


def started_again(client: SyncPrefectClient, run: UUID, of: Flow[..., object]) -> State:
    known = client.read_flow_run(run)
    state: State = run_flow(of, flow_run=known, parameters=known.parameters, return_type="state")
    which = FlowRunFilter(id=FlowRunFilterId(any_=[run]))

    def is_written() -> bool:
        steps = client.read_task_runs(flow_run_filter=which)
        return bool(steps) and all(step.state is not None and step.state.is_final() for step in steps)

    # The server writes what it is told of steps in batches.
    until(is_written, seconds=20)
    return state


def pruned() -> Pruned:
    return prune(datetime.now(UTC) - timedelta(days=30))


def size(of: set[Path]) -> int:
    return sum(path.stat().st_size for path in of)


def is_of(client: SyncPrefectClient, path: Path, runs: list[UUID]) -> bool:
    """Tell whether a result is of one of these runs, or of what they started."""
    which = FlowRunFilter(id=FlowRunFilterId(any_=runs))
    states = [each.state for each in client.read_flow_runs(flow_run_filter=which)]
    states += [each.state for each in client.read_task_runs(flow_run_filter=which)]
    data = [state.data for state in states if state]
    return str(path) in [each.storage_key for each in data if isinstance(each, ResultRecordMetadata)]


@pytest.mark.thorough
def test_the_results_of_a_run_go_with_it_and_the_last_run_still_goes_on(
    client: SyncPrefectClient, deployment: UUID, tmp_path: Path
) -> None:
    old, last = tmp_path / "old", tmp_path / "last"
    old.mkdir(), last.mkdir()
    before = files()
    gone = ended(client, deployment, goes_on, folder=str(old))
    # What its first attempt has failed of is only in its earlier states.
    (old / "go").touch()
    client.set_flow_run_state(gone, AwaitingRetry(), force=True)
    assert started_again(client, gone, goes_on).is_completed()
    its_own = files() - before
    stays = ended(client, deployment, goes_on, folder=str(last))
    kept = files() - before - its_own
    for run, days in ((gone, 90), (stays, 80)):
        make_older(run, days)

    freed = size(its_own)
    assert len(its_own) == 4
    assert pruned()[2:] == (4, freed, 0)
    assert files() == before | kept
    (last / "go").touch()
    client.set_flow_run_state(stays, AwaitingRetry(), force=True)
    assert started_again(client, stays, goes_on).is_completed()
    assert (last / "notes").read_text() == "first step\npart\n"


@pytest.mark.thorough
def test_runs_that_are_young_or_others_or_wait_for_their_retry_keep_their_results(
    client: SyncPrefectClient, deployment: UUID, tmp_path: Path
) -> None:
    foreign = deployed(goes_on, ours=False)
    folder = str(tmp_path)
    before = files()
    waiting, young = (ended(client, deployment, goes_on, folder=folder) for _ in range(2))
    others = [ended(client, foreign, goes_on, folder=folder) for _ in range(2)]
    client.set_flow_run_state(waiting, AwaitingRetry(), force=True)
    for run, days in ((waiting, 90), (young, 20), (others[0], 90), (others[1], 80)):
        make_older(run, days)
    last = ended(client, deployment, goes_on, folder=folder)
    kept = files() - before

    assert pruned() == Pruned()
    assert files() == before | kept
    (tmp_path / "go").touch()
    assert started_again(client, waiting, goes_on).is_completed()
    # Each run has done its first step once, of which one was started twice.
    assert (tmp_path / "notes").read_text().splitlines().count("first step") == 5
    for run in (waiting, young):
        make_older(run, 40)
    pruned()
    assert files() & kept == {path for path in kept if is_of(client, path, [*others, last])}
    client.delete_deployment(foreign)


@pytest.mark.thorough
def test_nothing_of_failed_daily_runs_is_left(client: SyncPrefectClient) -> None:
    daily = deployed(elt)
    before = files()
    runs = [ended(client, daily, elt, **NOBODY) for _ in range(3)]
    assert len(files() - before) > 3
    for run in runs:
        make_older(run, 90)
    client.create_flow_run_from_deployment(daily, state=Completed())
    assert pruned().runs == 3
    assert files() == before
    client.delete_deployment(daily)


@pytest.mark.thorough
def test_results_in_a_storage_block_go_from_its_folder_and_elsewhere_are_only_told_of(
    client: SyncPrefectClient, deployment: UUID, tmp_path: Path
) -> None:
    block = LocalFileSystem(basepath=str(tmp_path / "results"))
    block.save("results-of-a-test", overwrite=True)
    (tmp_path / "go").touch()
    with temporary_settings({PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: "local-file-system/results-of-a-test"}):
        runs = [ended(client, deployment, goes_on, folder=str(tmp_path)) for _ in range(2)]
    make_older(runs[0], 90)
    results = set((tmp_path / "results").iterdir())
    assert len(results) == 6
    freed = size(results) // 2
    assert pruned()[2:] == (3, freed, 0)
    assert len(set((tmp_path / "results").iterdir())) == 3

    # The block is gone, so nobody can tell where its results are.
    make_older(runs[1], 80)
    client.create_flow_run_from_deployment(deployment, state=Completed())
    LocalFileSystem.delete("results-of-a-test")
    assert pruned()[2:] == (0, 0, 3)
    assert len(set((tmp_path / "results").iterdir())) == 3


def test_only_what_lies_in_the_storage_is_removed_whatever_a_run_says_of_itself(
    client: SyncPrefectClient, deployment: UUID, tmp_path: Path
) -> None:
    (storage := PREFECT_HOME.value() / "storage").mkdir(exist_ok=True)
    inside, outside = storage / "of-a-test", tmp_path / "outside"
    inside.write_text("result")
    outside.write_text("no result")
    for path in (inside, outside, storage / ".." / "prefect.db", storage / "never-written"):
        run = client.create_flow_run_from_deployment(deployment)
        keep_result(run.id, path)
        make_older(run.id, 90)
    client.create_flow_run_from_deployment(deployment, state=Completed())
    assert pruned() == Pruned(runs=4, artifacts=4, results=1, result_bytes=6, results_elsewhere=2)
    assert (inside.exists(), outside.exists()) == (False, True)


@pytest.mark.thorough
def test_a_result_that_may_not_be_removed_keeps_its_run(
    client: SyncPrefectClient, deployment: UUID, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    run, _ = (ended(client, deployment, goes_on, folder=str(tmp_path)) for _ in range(2))
    make_older(run, 90)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(ConfigurationError, match=r"cannot be removed: Permission denied\nState: its run"):
            pruned()
    assert client.read_flow_run(run)
    assert pruned()[2] == 3
