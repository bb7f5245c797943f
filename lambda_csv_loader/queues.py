"""The queue of S3 events and its dead-letter queue: how deep they are, delivering dead letters again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_csv_loader.errors import TransientError
from lambda_csv_loader.object_store import client
from lambda_csv_loader.settings import ObjectStoreSettings

REDRIVE_WAIT_SECONDS = 1
_VISIBLE, _IN_FLIGHT = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


class QueueUnavailable(TransientError):
    """SQS does not answer."""


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
        """
        queue, dead = self._counts(self._queue), self._counts(self._dead)
        return QueueDepths(visible=queue[_VISIBLE], in_flight=queue[_IN_FLIGHT], dead=sum(dead.values()))

    def redrive(self) -> int:
        """Move every message of the dead-letter queue back to the queue; return how many.

        Raises:
            QueueUnavailable: try again; what was moved is moved.
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

    def _receive_dead(self) -> list[dict[str, Any]]:
        # A short poll asks only some of SQS's servers and may find nothing where there is something.
        answer = self._client.receive_message(
            QueueUrl=self._dead, MaxNumberOfMessages=10, WaitTimeSeconds=REDRIVE_WAIT_SECONDS
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages


@contextmanager
def _sorted_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise QueueUnavailable(
            f"The queue {url.rsplit('/', 1)[-1]} does not answer: {type(error).__name__}",
            next_command="floe status",
        ) from None
