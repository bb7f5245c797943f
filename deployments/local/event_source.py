"""The Lambda event source mapping for the laptop: polls the queue and invokes the handler in-process.

`python -m deployments.local.event_source`; settings from `FLOE_OBJECT_STORE__...`.

Speaks the same contract as AWS: batches, a visibility time-out, partial batch responses; the
queue's redrive policy moves what keeps failing to the dead-letter queue.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_csv_loader.object_store import client
from lambda_csv_loader.settings import ObjectStoreSettings, load_settings

BATCH = 10
WAIT_SECONDS = 1
MAX_BACKOFF_SECONDS = 10.0
MAX_RETRY_SECONDS = 300

Handler = Callable[[dict[str, Any], Any], dict[str, Any] | None]
log = logging.getLogger("floe.event_source")


@dataclass(frozen=True)
class Context:
    """The part of a Lambda context that the handler reads."""

    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    function_name: str = "floe-csv-loader"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:local:000000000000:function:floe-csv-loader"
    memory_limit_in_mb: int = 1024

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left, in milliseconds; the laptop sets no limit."""
        return 900_000


class EventSource:
    """Moves messages from a queue to a handler until it is stopped."""

    def __init__(
        self,
        settings: ObjectStoreSettings,
        handler: Handler,
        *,
        retry_seconds: int = 2,
        wait_seconds: int = WAIT_SECONDS,
    ) -> None:
        """Make the client.

        Args:
            settings: of the queue.
            handler: the Lambda function.
            retry_seconds: after its first failure, until a message is delivered again.
            wait_seconds: how long a poll of an empty queue waits.
        """
        self._queue_url, self._region = settings.queue_url, settings.region
        self._client = client(settings, "sqs")
        self._handler = handler
        self._retry_seconds, self._wait_seconds = retry_seconds, wait_seconds
        self._stop = threading.Event()

    def stop(self) -> None:
        """Finish the batch at hand, then return from `run`."""
        self._stop.set()

    def run(self) -> None:
        """Poll until stopped; while the object store is away, try again with growing pauses."""
        pause = 0.2
        while not self._stop.is_set():
            try:
                self.poll()
                pause = 0.2
            except (BotoCoreError, ClientError) as error:
                log.warning(
                    "the queue does not answer (%s); trying again in %.1f s", type(error).__name__, pause
                )
                self._stop.wait(pause)
                pause = min(pause * 2, MAX_BACKOFF_SECONDS)

    def poll(self) -> int:
        """Receive and process one batch; return how many messages it had."""
        answer = self._client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=BATCH,
            WaitTimeSeconds=self._wait_seconds,
            MessageSystemAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if messages:
            self._process(messages)
        return len(messages)

    def _process(self, messages: list[dict[str, Any]]) -> None:
        failed = self._invoke(messages)
        done = [message for message in messages if message["MessageId"] not in failed]
        kept = [message for message in messages if message["MessageId"] in failed]
        if done:
            self._client.delete_message_batch(QueueUrl=self._queue_url, Entries=_entries(done))
        if kept:
            # As AWS does when a function fails: the message comes back, counted, not at once.
            entries = [
                {**entry, "VisibilityTimeout": self._pause(message)}
                for entry, message in zip(_entries(kept), kept, strict=True)
            ]
            self._client.change_message_visibility_batch(QueueUrl=self._queue_url, Entries=entries)

    def _pause(self, message: dict[str, Any]) -> int:
        """Return the seconds until a message comes again: with each failure four times as many.

        A message has five tries, so an outage of two minutes sends none to the dead-letter queue.
        """
        received = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
        return int(min(self._retry_seconds * 4 ** (received - 1), MAX_RETRY_SECONDS))

    def _invoke(self, messages: list[dict[str, Any]]) -> set[str]:
        everything = {message["MessageId"] for message in messages}
        try:
            answer = self._handler({"Records": [self._record(message) for message in messages]}, Context())
        except Exception as error:  # noqa: BLE001 - whatever a function raises fails its batch, as on AWS
            log.warning("the handler failed a batch of %d: %s", len(messages), type(error).__name__)
            return everything
        failures = (answer or {}).get("batchItemFailures", [])
        named = {failure["itemIdentifier"] for failure in failures}
        # An identifier that is unknown or empty fails the whole batch.
        return named if named <= everything else everything

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        attributes = message.get("Attributes", {})
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": attributes,
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{self._region}:000000000000:{self._queue_url.rsplit('/', 1)[-1]}",
            "awsRegion": self._region,
        }


def _entries(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(messages)
    ]


def main() -> None:
    """Run until SIGTERM or SIGINT; the batch at hand is finished first."""
    from lambda_csv_loader.handler import handler, loader

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    source = EventSource(load_settings().object_store, handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: source.stop())
    source.run()
    loader().close()


if __name__ == "__main__":
    main()
