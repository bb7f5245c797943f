"""The queue of S3 events and its dead-letter queue: how deep they are, delivering dead letters again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_csv_loader.errors import PermanentError, TransientError
from lambda_csv_loader.object_store import client
from lambda_csv_loader.settings import ObjectStoreSettings

WAIT_SECONDS = 1
BATCH = 10
LOOKED_AT = 1000
"""Dead letters that are read to tell whose they are; more come from one cause."""
LOOK_SECONDS = 20
"""The longest that a look hides a dead letter from others; it is given back as soon as all are read."""
_VISIBLE, _IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


class QueueUnavailable(TransientError):
    """SQS does not answer."""


class QueueRefused(PermanentError):
    """SQS answers that the role may not do this."""


@dataclass(frozen=True)
class QueueDepths:
    """How many messages wait, by SQS's own approximate counts."""

    visible: int
    in_flight: int
    dead: int

    @property
    def waiting(self) -> int:
        """Return how many may still be processed."""
        return self.visible + self.in_flight


class Queues:
    """The two queues of one bucket."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        self._queue, self._dead = settings.queue_url, settings.dead_letter_queue_url
        self._client = client(settings, "sqs")

    def depths(self) -> QueueDepths:
        """Return how many messages wait.

        Raises:
            QueueUnavailable: try again.
            QueueRefused: the role may not count them.
        """
        queue, dead = self._counts(self._queue), self._counts(self._dead)
        return QueueDepths(visible=queue[_VISIBLE], in_flight=queue[_IN_FLIGHT], dead=sum(dead.values()))

    def dead_bodies(self) -> tuple[list[str], int]:
        """Return what the dead letters say, and how many were not read; all of them stay where they are.

        Raises:
            QueueUnavailable: try again; also when somebody else has some of them in hand.
            QueueRefused: the role may not count them.
        """
        expected = sum(self._counts(self._dead).values())
        held: dict[str, dict[str, Any]] = {}
        try:
            with _sorted_errors(self._dead):
                while len(held) < min(expected, LOOKED_AT):
                    found = {each["MessageId"]: each for each in self._receive_dead(LOOK_SECONDS)}
                    if not found.keys() - held.keys():
                        break
                    held |= found
        except QueueRefused:
            return [], expected
        finally:
            self._give_back(held.values())
        missing = max(0, expected - len(held))
        if missing and len(held) < LOOKED_AT:
            raise QueueUnavailable(
                f"{missing} of {expected} dead letters could not be read: somebody else has them in hand",
                state="they stay in the dead-letter queue",
                next_command="floe files status, a minute later",
            )
        return [each["Body"] for each in held.values()], missing

    def redrive(self) -> int:
        """Move every message of the dead-letter queue back to the queue; return how many.

        Raises:
            QueueUnavailable: try again; what was moved is moved.
            QueueRefused: the role may not take them, or not send to the queue.
        """
        moved = 0
        with _sorted_errors(self._dead):
            while messages := self._receive_dead():
                for message in messages:
                    # Sent before it is deleted: a crash in between delivers it twice, which is a no-op.
                    self._client.send_message(QueueUrl=self._queue, MessageBody=message["Body"])
                    self._client.delete_message(QueueUrl=self._dead, ReceiptHandle=message["ReceiptHandle"])
                    moved += 1
        return moved

    def _counts(self, url: str) -> dict[str, int]:
        with _sorted_errors(url):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=[_VISIBLE, _IN_FLIGHT])
        return {name: int(answer["Attributes"][name]) for name in (_VISIBLE, _IN_FLIGHT)}

    def _give_back(self, messages: Iterable[dict[str, Any]]) -> None:
        """Let others see dead letters at once, which they else do after LOOK_SECONDS."""
        entries = [
            {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, each in enumerate(messages)
        ]
        with suppress(BotoCoreError, ClientError):
            for start in range(0, len(entries), BATCH):
                self._client.change_message_visibility_batch(
                    QueueUrl=self._dead, Entries=entries[start : start + BATCH]
                )

    def _receive_dead(self, hidden_seconds: int | None = None) -> list[dict[str, Any]]:
        hidden = {} if hidden_seconds is None else {"VisibilityTimeout": hidden_seconds}
        # A short poll asks only some of SQS's servers and may find nothing where there is something.
        answer = self._client.receive_message(
            QueueUrl=self._dead, MaxNumberOfMessages=BATCH, WaitTimeSeconds=WAIT_SECONDS, **hidden
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


@contextmanager
def _sorted_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        queue = url.rsplit("/", 1)[-1]
        if isinstance(error, ClientError) and "AccessDenied" in error.response["Error"]["Code"]:
            raise QueueRefused(
                f"The queue {queue} does not let this role do {error.operation_name}",
                next_command=f"grant it sqs:{error.operation_name} on {queue}",
            ) from None
        raise QueueUnavailable(
            f"The queue {queue} does not answer: {type(error).__name__}", next_command="floe status"
        ) from None
