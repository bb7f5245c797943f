"""The laptop's event source mapping: batches, partial answers, redrive, and servers that come and go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from file_stack import ROOT, FileStack, StoreProcess, make_bucket, new_stack, running_store

from deployments.local.event_source import EventSource
from lambda_csv_loader.object_store import client
from lambda_csv_loader.queues import Queues
from lambda_csv_loader.settings import ObjectStoreSettings


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def bucket(store: StoreProcess, request: pytest.FixtureRequest) -> ObjectStoreSettings:
    """A bucket with queues, empty of messages."""
    settings = make_bucket(store, f"events-{abs(hash(request.node.name))}"[:40])
    client(settings, "sqs").purge_queue(QueueUrl=settings.queue_url)
    return settings


def send(settings: ObjectStoreSettings, *bodies: str) -> None:
    sqs = client(settings, "sqs")
    for body in bodies:
        sqs.send_message(QueueUrl=settings.queue_url, MessageBody=body)


class Function:
    """A Lambda function that fails the bodies it is told to, and remembers what it got."""

    def __init__(self, *failing: str, answer: dict[str, Any] | None = None) -> None:
        self.failing, self.answer = failing, answer
        self.batches: list[list[str]] = []

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any] | None:
        records = event["Records"]
        self.batches.append([record["body"] for record in records])
        if self.answer is not None:
            return self.answer
        failed = [record["messageId"] for record in records if record["body"] in self.failing]
        return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}


def source(settings: ObjectStoreSettings, function: Any) -> EventSource:
    return EventSource(settings, function, retry_seconds=0, wait_seconds=0)


def test_messages_come_in_batches_of_ten_and_are_deleted(bucket: ObjectStoreSettings) -> None:
    function = Function()
    send(bucket, *map(str, range(12)))
    polls = source(bucket, function)
    assert [polls.poll(), polls.poll(), polls.poll()] == [10, 2, 0]
    assert sorted(body for batch in function.batches for body in batch) == sorted(map(str, range(12)))
    assert Queues(bucket).depths().waiting == 0


def test_a_failed_message_comes_again_until_it_is_a_dead_letter(bucket: ObjectStoreSettings) -> None:
    function = Function("bad")
    send(bucket, "good", "bad")
    polls = source(bucket, function)
    while polls.poll():
        continue
    assert [body for batch in function.batches for body in batch].count("bad") == 3
    assert [body for batch in function.batches for body in batch].count("good") == 1
    depths = Queues(bucket).depths()
    assert (depths.waiting, depths.dead) == (0, 1)


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": [{"itemIdentifier": "unheard of"}]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
    ],
    ids=["unknown-identifier", "empty-identifier"],
)
def test_an_answer_that_names_no_message_fails_the_batch(bucket: ObjectStoreSettings, answer: Any) -> None:
    send(bucket, "one", "two")
    source(bucket, Function(answer=answer)).poll()
    assert Queues(bucket).depths().waiting == 2


def test_a_function_that_raises_fails_its_batch(bucket: ObjectStoreSettings) -> None:
    def broken(event: dict[str, Any], context: Any) -> None:
        raise RuntimeError

    send(bucket, "one")
    source(bucket, broken).poll()
    assert Queues(bucket).depths().waiting == 1


def test_a_function_that_answers_nothing_succeeded(bucket: ObjectStoreSettings) -> None:
    send(bucket, "one")
    source(bucket, lambda event, context: None).poll()
    assert Queues(bucket).depths().waiting == 0


def test_it_goes_on_after_the_object_store_was_away(tmp_path: Path) -> None:
    with running_store(tmp_path, "floe-landing") as store:
        settings = store.settings("floe-landing")
        seen = threading.Event()

        def function(event: dict[str, Any], context: Any) -> None:
            if any("back" in record["body"] for record in event["Records"]):
                seen.set()

        polls = source(settings, function)
        thread = threading.Thread(target=polls.run)
        thread.start()
        store.kill()
        store.start()
        send(settings, json.dumps({"back": True}))
        assert seen.wait(30)
        polls.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def stack(store: StoreProcess, cluster: Any, extension_directory: Path, tmp_path: Path) -> FileStack:
    return new_stack(store, cluster, extension_directory, tmp_path)


def test_the_service_loads_a_file_and_ends_when_asked(stack: FileStack, tmp_path: Path) -> None:
    key = stack.put("landing/stock/f.csv", "day_id,item,quantity\n1,1,1\n")
    log = tmp_path / "event-source.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments.local.event_source"],
            cwd=ROOT,
            env={**os.environ, **stack.environment()},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + 60
        while stack.depths().waiting and time.monotonic() < deadline:
            time.sleep(0.1)
        assert stack.ledger(key) == [("loaded", None, 1)], log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(20)


def test_each_failure_keeps_a_message_away_for_longer(bucket: ObjectStoreSettings) -> None:
    pauses: list[list[int]] = []

    class Recording:
        """SQS, with the pauses that it is asked for written down."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def change_message_visibility_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> Any:  # noqa: N803
            pauses.append([entry["VisibilityTimeout"] for entry in Entries])
            now = [{**entry, "VisibilityTimeout": 0} for entry in Entries]
            return self._inner.change_message_visibility_batch(QueueUrl=QueueUrl, Entries=now)

    send(bucket, "bad")
    source = EventSource(bucket, Function("bad"), retry_seconds=2, wait_seconds=0)
    source._client = Recording(source._client)
    while source.poll():
        continue
    assert pauses == [[2], [8], [32]]
