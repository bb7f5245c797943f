"""Whose the dead letters are: looked at where they lie, in a real queue."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from file_stack import FileStack

from lambda_csv_loader import queues
from lambda_csv_loader.dead_letters import DeadLetters, dead_letters
from lambda_csv_loader.queues import Queues, QueueUnavailable
from tests.scripted_server import Answer, scripted

DECLARED = ["goods", "stock"]


@pytest.fixture(autouse=True)
def no_events(stack: FileStack) -> Iterator[None]:
    """Queues without messages, before and after."""
    stack.lose_events()
    yield
    stack.lose_events()


def bury(stack: FileStack, *bodies: str) -> None:
    """Put messages into the dead-letter queue."""
    for body in bodies:
        stack.sqs.send_message(QueueUrl=stack.store.dead_letter_queue_url, MessageBody=body)


def event(stack: FileStack, *keys: str, bucket: str | None = None) -> str:
    bucket = bucket or stack.store.bucket
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
        for key in keys
    ]
    return json.dumps({"Records": records})


def looked_at(stack: FileStack) -> DeadLetters:
    return dead_letters(Queues(stack.store), stack.store.bucket, DECLARED)


def test_each_is_of_the_datasets_whose_files_it_tells_of_and_stays_where_it_is(stack: FileStack) -> None:
    assert looked_at(stack).in_words() == ""
    bury(stack, *(event(stack, f"landing/stock/{number}.csv") for number in range(21)))
    bury(stack, event(stack, "landing/stock/a%2Bb.csv", "landing/goods/c.csv", "landing/goods/d.csv"))
    bury(
        stack,
        "poison",
        event(stack, "landing/other/a.csv"),
        event(stack, "landing/stock.csv"),
        event(stack, "elsewhere/stock/a.csv"),
        event(stack, "landing/stock/a.csv", bucket="not-ours"),
    )
    found = looked_at(stack)
    assert found == DeadLetters(by_dataset={"stock": 22, "goods": 1}, strays=5, unread=0)
    assert found.in_words() == "1 of goods, 22 of stock, 5 of no declared dataset"
    # At once again, by another who looks, and to deliver them all.
    assert looked_at(stack) == found
    assert stack.queues.redrive() == 27


def test_what_somebody_else_has_in_hand_is_not_taken_for_nothing(stack: FileStack) -> None:
    bury(stack, "one", "two")
    dead = stack.store.dead_letter_queue_url
    (held,) = stack.sqs.receive_message(QueueUrl=dead, VisibilityTimeout=30)["Messages"]
    with pytest.raises(QueueUnavailable, match="1 of 2 dead letters could not be read: somebody else"):
        looked_at(stack)
    stack.sqs.change_message_visibility(
        QueueUrl=dead, ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=0
    )
    assert looked_at(stack) == DeadLetters(strays=2)


def test_of_very_many_the_rest_may_be_of_any_dataset(
    stack: FileStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "LOOKED_AT", 10)
    bury(stack, *(event(stack, f"landing/stock/{number}.csv") for number in range(12)))
    assert looked_at(stack).in_words() == "10 of stock, 2 not looked at"


def test_a_role_that_may_only_count_them_leaves_them_unread(stack: FileStack) -> None:
    counts = {"ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "0"}
    refused = {"__type": "com.amazon.coral.service#AccessDeniedException", "message": "no"}
    with scripted({"POST /": [Answer(body={"Attributes": counts}), Answer(403, refused)]}) as server:
        away = stack.store.model_copy(
            update={"endpoint_url": server.url, "dead_letter_queue_url": f"{server.url}/1/dead"}
        )
        assert dead_letters(Queues(away), "bucket", DECLARED) == DeadLetters(unread=3)
