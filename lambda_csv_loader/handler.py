"""The Lambda function: S3 → SQS → here. Also what the laptop's event source calls.

Permanent faults of a file are settled (quarantined, acknowledged); everything else is raised, so
that its message is delivered again and ends in the dead-letter queue.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from lambda_csv_loader.errors import FloeError
from lambda_csv_loader.events import NotAnEvent, objects_of
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.settings import load_settings
from lambda_csv_loader.writer import WarehouseUnavailable

logger = Logger(service="floe-csv-loader")
# The loader logs with the standard library, since it knows nothing of Lambda: same format, once.
copy_config_to_registered_loggers(source_logger=logger, include={"floe"})
logging.getLogger("floe").propagate = False


@cache
def loader() -> Loader:
    """Return the loader of this process: settings and connections are made at cold start."""
    return Loader.from_settings(load_settings())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Load the objects that a batch of SQS messages tells of.

    Returns:
        The messages to deliver again (`batchItemFailures`).

    Raises:
        BatchProcessingError: every message failed.
    """
    outcomes = loader().load_many(_objects(event), request_id=getattr(context, "aws_request_id", None))
    if any(isinstance(outcome, WarehouseUnavailable) for outcome in outcomes.values()):
        # The secret may have been rotated since the cold start: the next batch reads it anew.
        loader().close()
        loader.cache_clear()

    def settle(record: SQSRecord) -> None:
        for ref in objects_of(record.body):
            outcome = outcomes[ref]
            if isinstance(outcome, FloeError):
                logger.error("not loaded", extra={"key": ref.key, "error": outcome.what})
                raise outcome

    # All files of a batch are published together above; this only sorts out the messages.
    processor = BatchProcessor(event_type=EventType.SQS)
    return dict(process_partial_response(event, settle, processor, context))


def _objects(event: dict[str, Any]) -> list[ObjectRef]:
    found: list[ObjectRef] = []
    for record in event["Records"]:
        try:
            found += objects_of(record["body"])
        except NotAnEvent:
            continue
    return found
