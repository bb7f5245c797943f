"""The flow `ingest_csv` against a real Prefect server, object store and lake."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_stack import FileStack, StoreProcess, handler_environment, new_stack, running_store
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from blocks.object_store import LandingBucket
from blocks.settings import ObjectStoreSettings
from flows.ingest_csv import FilesStuck, IngestResult, ingest_csv
from lambda_csv_loader.contract import NoContract

HEAD = "day_id,item,quantity\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def stack(
    prefect_server: None, store: StoreProcess, cluster: Any, extension_directory: Path, tmp_path: Path
) -> Iterator[FileStack]:
    """A bucket and a lake of one test, saved as the block `landing`."""
    made = new_stack(store, cluster, extension_directory, tmp_path)
    with handler_environment(made):
        made.drain()
        settings = ObjectStoreSettings(**made.store.model_dump())
        LandingBucket(**settings.model_dump()).save("landing", overwrite=True)
        yield made


def artifact(key: str) -> Any:
    """Return the newest artifact of a key, as the server has it."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))
    data = max(found, key=lambda each: str(each.created)).data
    return json.loads(data) if isinstance(data, str) else data


def purge(stack: FileStack) -> None:
    """Lose every event, as a restart of the laptop's queue does."""
    stack.sqs.purge_queue(QueueUrl=stack.store.queue_url)


def numbers(result: IngestResult) -> tuple[int, int, int, int, int]:
    return (result.files, result.loaded_by_events, result.loaded_by_sweep, result.newly_loaded, result.rows)


def test_what_events_missed_is_swept_and_a_second_run_finds_nothing_to_do(stack: FileStack) -> None:
    stack.put("landing/stock/event.csv", HEAD + "1,1,1\n")
    stack.drain()
    for number in range(60):
        stack.put(f"landing/stock/missed-{number}.csv", HEAD + f"2,{number},1\n3,{number},1\n")
    stack.put("landing/stock/", b"")
    purge(stack)
    assert numbers(ingest_csv("stock")) == (61, 1, 60, 60, 121)
    assert stack.query("select count(*) from raw_files.stock") == [(121,)]
    assert artifact("ingest-stock") == 100.0
    assert artifact("ingest-stock-files") == [{"status": "loaded", "files": 61, "rows": 121}]
    assert numbers(ingest_csv("stock")) == (61, 1, 60, 0, 121)


def test_it_waits_for_events_that_are_draining_the_queue(stack: FileStack) -> None:
    for number in range(15):
        stack.put(f"landing/stock/{number}.csv", HEAD + f"1,{number},1\n")
    stop = threading.Event()

    def events() -> None:
        while not stop.is_set():
            stack.handle()
            time.sleep(0.3)

    thread = threading.Thread(target=events)
    thread.start()
    result = ingest_csv("stock")
    stop.set()
    thread.join()
    assert numbers(result) == (15, 15, 0, result.newly_loaded, 15)


def test_events_that_nobody_takes_are_not_waited_for(stack: FileStack) -> None:
    stack.put("landing/stock/a.csv", HEAD + "1,1,1\n")
    assert numbers(ingest_csv("stock", patience_seconds=0)) == (1, 0, 1, 1, 1)
    stack.drain()
    assert stack.query("select count(*) from raw_files.stock") == [(1,)]


def test_quarantined_files_are_listed_with_their_verdicts_and_do_not_fail_the_run(stack: FileStack) -> None:
    stack.put("landing/stock/good.csv", HEAD + "1,1,1\n")
    bad = stack.put("landing/stock/bad.csv", HEAD + "1,one,1\n")
    purge(stack)
    result = ingest_csv("stock")
    (quarantined,) = result.quarantined
    reason = "type: line 2: 1 bad rows; first: column item: not of type bigint"
    assert (quarantined.key, quarantined.reason, result.loaded) == (bad, reason, 1)
    verdict = json.load(stack.object(str(quarantined.verdict_key)))
    assert verdict["examples"][0]["value"] == "one"
    assert artifact("ingest-stock-quarantined") == [
        {"file": bad, "reason": reason, "verdict": quarantined.verdict_key}
    ]


def test_prefix_and_days_choose_files(stack: FileStack) -> None:
    for name in ("2003-01", "2003-02"):
        stack.put(f"landing/stock/{name}/a.csv", HEAD + f"{name[-1]},1,1\n")
    purge(stack)
    assert ingest_csv("stock", prefix="landing/stock/2003-02/").files == 1
    assert stack.query("select day_id from raw_files.stock") == [(2,)]
    assert ingest_csv("stock", until="2000-01-01").files == 0  # type: ignore[arg-type]
    assert ingest_csv("stock", since="2000-01-01").newly_loaded == 1  # type: ignore[arg-type]


def test_a_dead_letter_fails_the_run(stack: FileStack) -> None:
    stack.put("landing/stock/a.csv", HEAD + "1,1,1\n")
    stack.drain()
    stack.sqs.send_message(QueueUrl=stack.store.dead_letter_queue_url, MessageBody="poison")
    with pytest.raises(FilesStuck, match="1 messages lie in the dead-letter queue"):
        ingest_csv("stock")


def test_a_file_that_can_be_neither_loaded_nor_refused_fails_the_run(stack: FileStack) -> None:
    stack.put("landing/stock/a.csv", HEAD + "1,1,1\n")
    stack.drain()
    stack.contract("stock", "mode: append\ncolumns:\n  - {name: item, type: date}\n")
    key = stack.put("landing/stock/b.csv", "item\n2003-01-02\n")
    purge(stack)
    with pytest.raises(
        FilesStuck, match=f"1 files could be neither loaded nor refused: {key}: .*item is bigint"
    ):
        ingest_csv("stock")


def test_an_undeclared_dataset_is_refused(stack: FileStack) -> None:
    with pytest.raises(NoContract, match="no contract for dataset 'nothing'"):
        ingest_csv("nothing")


def test_the_block_refuses_misspelt_fields() -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        LandingBucket(bucket="b", queue_url="q", dead_letter_queue_url="d", regoin="eu-central-1")


def test_the_block_hands_out_a_prefect_aws_bucket(stack: FileStack) -> None:
    landing = LandingBucket(**ObjectStoreSettings(**stack.store.model_dump()).model_dump())
    key = stack.put("landing/stock/a.csv", HEAD)
    assert landing.s3_bucket().read_path(key) == HEAD.encode()
