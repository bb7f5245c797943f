"""The flow `ingest_csv` against a real Prefect server, object store and lake."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_stack import STOCK, FileStack, StoreProcess, handler_environment, new_stack, running_store
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from blocks.object_store import LandingBucket
from blocks.settings import ObjectStoreSettings
from flows.dataset_files import BadPrefix, IngestResult
from flows.dead_letters import StrayDeadLetters
from flows.elt import elt
from flows.ingest_csv import FilesStuck, ingest_csv
from lambda_csv_loader.contract import NoContract
from tests.flaky_port import FlakyPort, flaky_port
from tests.step_runs import tries

HEAD = "day_id,item,quantity\n"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    prefect_server: None,
    store: StoreProcess,
    cluster: Any,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FileStack]:
    """A bucket and a lake, saved as the block `landing`; each test has a dataset of its own."""
    made = new_stack(store, cluster, extension_directory, tmp_path_factory.mktemp("stack"))
    with handler_environment(made):
        made.drain()
        settings = ObjectStoreSettings(**made.store.model_dump())
        LandingBucket(**settings.model_dump()).save("landing", overwrite=True)
        yield made


@pytest.fixture
def dataset(stack: FileStack, request: pytest.FixtureRequest) -> str:
    """A declared dataset without files, and empty queues."""
    name = f"stock_{next(_numbers)}"
    stack.contract(name, STOCK)
    stack.lose_events()
    return name


def artifact(key: str) -> Any:
    """Return the newest artifact of a key, as the server has it."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    data = max(found, key=lambda each: str(each.created)).data
    return json.loads(data) if isinstance(data, str) and data.startswith(("[{", "[]", "{")) else data


def numbers(result: IngestResult) -> tuple[int, int, int, int, int]:
    return (result.files, result.loaded_by_events, result.loaded_by_sweep, result.newly_loaded, result.rows)


def test_what_events_missed_is_swept_and_a_second_run_finds_nothing_to_do(
    stack: FileStack, dataset: str
) -> None:
    stack.put(f"landing/{dataset}/event.csv", HEAD + "1,1,1\n")
    stack.drain()
    for number in range(55):
        stack.put(f"landing/{dataset}/missed-{number}.csv", HEAD + f"2,{number},1\n3,{number},1\n")
    stack.put(f"landing/{dataset}/", b"")
    stack.lose_events()
    assert numbers(ingest_csv(dataset)) == (56, 1, 55, 55, 111)
    assert stack.query(f"select count(*) from raw_files.{dataset}") == [(111,)]
    key = f"ingest-{dataset.replace('_', '-')}"
    assert artifact(key) == 100.0
    files = artifact(f"{key}-files")
    assert {file["status"] for file in files} == {"loaded"}
    assert (len(files), sum(file["rows"] for file in files)) == (56, 111)
    assert numbers(ingest_csv(dataset)) == (56, 1, 55, 0, 111)


def test_it_waits_for_events_that_are_draining_the_queue(stack: FileStack, dataset: str) -> None:
    for number in range(15):
        stack.put(f"landing/{dataset}/{number}.csv", HEAD + f"1,{number},1\n")
    stop = threading.Event()

    def events() -> None:
        while not stop.is_set():
            stack.handle()
            time.sleep(0.3)

    thread = threading.Thread(target=events)
    thread.start()
    result = ingest_csv(dataset)
    stop.set()
    thread.join()
    assert numbers(result) == (15, 15, 0, result.newly_loaded, 15)


def test_events_that_nobody_takes_are_not_waited_for(stack: FileStack, dataset: str) -> None:
    stack.put(f"landing/{dataset}/a.csv", HEAD + "1,1,1\n")
    assert numbers(ingest_csv(dataset, patience_seconds=0)) == (1, 0, 1, 1, 1)
    stack.drain()
    assert stack.query(f"select count(*) from raw_files.{dataset}") == [(1,)]


def test_quarantined_files_are_listed_with_their_verdicts_and_do_not_fail_the_run(
    stack: FileStack, dataset: str
) -> None:
    stack.put(f"landing/{dataset}/good.csv", HEAD + "1,1,1\n")
    bad = stack.put(f"landing/{dataset}/bad.csv", HEAD + "1,one,1\n")
    stack.lose_events()
    result = ingest_csv(dataset)
    (quarantined,) = result.quarantined
    reason = "type: line 2: 1 bad rows; first: column item: not of type bigint"
    assert (quarantined.key, quarantined.reason, result.loaded) == (bad, reason, 1)
    verdict = json.load(stack.object(str(quarantined.verdict_key)))
    assert verdict["examples"][0]["value"] == "one"
    assert artifact(f"ingest-{dataset.replace('_', '-')}-quarantined") == [
        {"file": bad, "reason": reason, "verdict": quarantined.verdict_key}
    ]

    link = artifact(f"ingest-{dataset.replace('_', '-')}-verdict-{quarantined.file_id[:12]}")
    assert f"{stack.store.endpoint_url}/{stack.store.bucket}/{quarantined.verdict_key}" in link
    assert artifact(f"ingest-{dataset.replace('_', '-')}-files")[0] == {
        "file": bad,
        "status": "quarantined",
        "rows": 0,
    }


@pytest.mark.thorough
def test_refused_or_all_files_are_loaded_again_once_when_asked_for(stack: FileStack, dataset: str) -> None:
    stack.put(f"landing/{dataset}/good.csv", HEAD + "1,1,1\n")
    stack.put(f"landing/{dataset}/bad.csv", HEAD + "1,2,-1\n")
    stack.put(f"landing/{dataset}/worse.csv", HEAD + "1,three,1\n")
    stack.lose_events()
    assert len(ingest_csv(dataset).quarantined) == 2
    stack.contract(dataset, STOCK.replace("integer, min: 0", "integer"))
    assert len(ingest_csv(dataset).quarantined) == 2

    ended = ingest_csv(dataset, again="refused", return_state=True)
    assert (ended.result().newly_loaded, len(ended.result().quarantined)) == (1, 1)
    assert tries(ended, "sweep") == {"sweep": 1}
    attempts = f"select key, attempts from ops.csv_files where dataset = '{dataset}' order by key"
    bad, good, worse = (f"landing/{dataset}/{name}.csv" for name in ("bad", "good", "worse"))
    assert stack.query(attempts) == [(bad, 2), (good, 1), (worse, 2)]
    ingest_csv(dataset, again="everything")
    assert stack.query(attempts) == [(bad, 3), (good, 2), (worse, 3)]
    assert stack.query(f"select item, quantity from raw_files.{dataset} order by 1") == [(1, 1), (2, -1)]


def test_prefix_that_reaches_into_another_dataset_is_refused(dataset: str) -> None:
    with pytest.raises(BadPrefix, match=f"does not begin with 'landing/{dataset}/'"):
        ingest_csv(dataset, prefix=f"landing/{dataset}")


def test_prefix_and_days_choose_files(stack: FileStack, dataset: str) -> None:
    for name in ("2003-01", "2003-02"):
        stack.put(f"landing/{dataset}/{name}/a.csv", HEAD + f"{name[-1]},1,1\n")
    stack.lose_events()
    assert ingest_csv(dataset, prefix=f"landing/{dataset}/2003-02/").files == 1
    assert stack.query(f"select day_id from raw_files.{dataset}") == [(2,)]
    assert ingest_csv(dataset, until="2000-01-01").files == 0  # type: ignore[arg-type]
    assert ingest_csv(dataset, since="2000-01-01").newly_loaded == 1  # type: ignore[arg-type]


def bury(stack: FileStack, body: str) -> None:
    stack.sqs.send_message(QueueUrl=stack.store.dead_letter_queue_url, MessageBody=body)


def created(stack: FileStack, dataset: str) -> str:
    """Return what S3 says of an upload."""
    uploaded = {"bucket": {"name": stack.store.bucket}, "object": {"key": f"landing/{dataset}/a.csv"}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": uploaded}]})


def test_a_dead_letter_fails_the_run_of_its_own_dataset_and_no_other(
    stack: FileStack, dataset: str, caplog: pytest.LogCaptureFixture
) -> None:
    stack.contract(other := f"other_{dataset}", STOCK)
    for name in (dataset, other):
        stack.put(f"landing/{name}/a.csv", HEAD + "1,1,1\n")
    stack.drain()
    bury(stack, created(stack, dataset))
    with pytest.raises(FilesStuck, match=f"1 messages about {dataset} lie in the dead-letter queue\n"):
        ingest_csv(dataset)
    assert ingest_csv(other).loaded == 1
    assert f"none is of {other}: 1 of {dataset}" in caplog.text


@pytest.mark.thorough
def test_dead_letters_of_none_of_its_datasets_fail_the_daily_run_when_it_has_done_everything(
    stack: FileStack, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    @flow
    def build() -> None:
        built.append("marts")

    monkeypatch.setattr("flows.elt.transform", build)
    stack.put(f"landing/{dataset}/a.csv", HEAD + "1,1,1\n")
    stack.drain()
    stack.contract(other := f"other_{dataset}", STOCK)
    bury(stack, "poison")
    bury(stack, created(stack, other))
    with pytest.raises(StrayDeadLetters, match=f"this run: 1 of {other}, 1 of no declared dataset"):
        elt(sources=[], datasets=[dataset], dashboards=False)
    assert built == ["marts"]
    stack.lose_events()
    elt(sources=[], datasets=[dataset], dashboards=False)


def test_dead_letters_that_nobody_could_look_at_fail_every_run(
    stack: FileStack, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(stack, "poison")
    monkeypatch.setattr("lambda_csv_loader.queues.LOOKED_AT", 0)
    with pytest.raises(FilesStuck, match=f"0 messages about {dataset} and 1 that could not be looked at"):
        ingest_csv(dataset)


def test_a_file_that_can_be_neither_loaded_nor_refused_fails_the_run(stack: FileStack, dataset: str) -> None:
    stack.put(f"landing/{dataset}/a.csv", HEAD + "1,1,1\n")
    stack.drain()
    stack.contract(dataset, "mode: append\ncolumns:\n  - {name: item, type: date}\n")
    key = stack.put(f"landing/{dataset}/b.csv", "item\n2003-01-02\n")
    stack.lose_events()
    ended = ingest_csv(dataset, return_state=True)
    with pytest.raises(
        FilesStuck, match=f"1 files could be neither loaded nor refused: {key}: .*item is bigint"
    ):
        ended.result()
    assert tries(ended, "sweep", "see that no file is stuck") == {"sweep": 1, "see that no file is stuck": 1}


@pytest.fixture
def flaky_store(stack: FileStack) -> Iterator[FlakyPort]:
    """The object store as the flow sees it, behind a port that hangs up when told to."""
    with flaky_port(int(str(stack.store.endpoint_url).rpartition(":")[2])) as flaky:
        flaky_store = {"endpoint_url": f"http://127.0.0.1:{flaky.port}"}
        LandingBucket(**{**stack.store.model_dump(), **flaky_store}).save("landing", overwrite=True)
        yield flaky
    LandingBucket(**stack.store.model_dump()).save("landing", overwrite=True)


@pytest.mark.thorough
def test_a_store_that_is_down_for_a_moment_only_delays_the_run(
    stack: FileStack, dataset: str, flaky_store: FlakyPort
) -> None:
    stack.put(f"landing/{dataset}/a.csv", HEAD + "1,1,1\n")
    stack.lose_events()
    # The client sends a request three times before it gives up: once when listing, once when loading.
    flaky_store.hang_ups = {b"GET /": 3, b"HEAD /": 3}
    ended = ingest_csv(dataset, first_pause_seconds=0.01, return_state=True)
    assert numbers(ended.result()) == (1, 0, 1, 1, 1)
    assert tries(ended, "list the files", "sweep") == {"list the files": 2, "sweep": 2}
    assert stack.query(f"select count(*) from raw_files.{dataset}") == [(1,)]


def test_an_undeclared_dataset_is_refused(stack: FileStack) -> None:
    with pytest.raises(NoContract, match="no contract for dataset 'nothing'"):
        ingest_csv("nothing")


def test_the_block_refuses_misspelt_fields() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        LandingBucket(bucket="b", queue_url="q", dead_letter_queue_url="d", regoin="eu-central-1")


def test_the_block_hands_out_a_prefect_aws_bucket(stack: FileStack, dataset: str) -> None:
    landing = LandingBucket(**ObjectStoreSettings(**stack.store.model_dump()).model_dump())
    key = stack.put(f"landing/{dataset}/a.csv", HEAD)
    assert landing.s3_bucket().read_path(key) == HEAD.encode()
