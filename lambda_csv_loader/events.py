"""From an SQS message to the objects it tells of.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

from lambda_csv_loader.errors import PermanentError
from lambda_csv_loader.object_store import ObjectRef


class NotAnEvent(PermanentError):
    """A message is no S3 notification; it ends in the dead-letter queue, where a person sees it."""


def objects_of(body: str) -> list[ObjectRef]:
    """Return the objects created that a message tells of; none for a test event or a deletion.

    The version, time and size are left out on purpose: an event tells that something happened to a
    key, the bucket tells what is there now.

    Raises:
        NotAnEvent: the body is no S3 notification.
    """
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict) or ("Records" not in content and content.get("Event") != "s3:TestEvent"):
        raise NotAnEvent("a message in the queue is no S3 notification", state="it stays in the queue")
    try:
        return [
            _object(record["s3"])
            for record in content.get("Records", ())
            if record["eventName"].removeprefix("s3:").startswith("ObjectCreated")
        ]
    except (KeyError, TypeError, AttributeError):
        raise NotAnEvent("an S3 notification lacks bucket or key", state="it stays in the queue") from None


def _object(described: dict[str, Any]) -> ObjectRef:
    found = described["object"]
    return ObjectRef(
        described["bucket"]["name"],
        # The key arrives encoded like a form field: decoded once, here and nowhere else.
        unquote_plus(found["key"]),
        sequencer=found.get("sequencer"),
    )
