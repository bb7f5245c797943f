"""Whose the messages in the dead-letter queue are: they tell of files, and a file's key names its dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lambda_csv_loader.events import NotAnEvent, objects_of
from lambda_csv_loader.groups import dataset_of
from lambda_csv_loader.queues import Queues


@dataclass(frozen=True)
class DeadLetters:
    """The messages that failed too often.

    Attributes:
        by_dataset: how many tell of a file of a declared dataset; one that tells of two counts for both.
        strays: how many tell of none: no S3 notification, another bucket's, an undeclared dataset's.
        unread: how many nobody has looked at, as there are too many or the rights do not reach. They may be
            of any dataset.
    """

    by_dataset: Mapping[str, int] = field(default_factory=dict)
    strays: int = 0
    unread: int = 0

    def in_words(self) -> str:
        """Return how many there are of what, empty when there are none."""
        counts = [(f"of {dataset}", count) for dataset, count in sorted(self.by_dataset.items())]
        counts += [("of no declared dataset", self.strays), ("not looked at", self.unread)]
        return ", ".join(f"{count} {what}" for what, count in counts if count)


def dead_letters(queues: Queues, bucket: str, declared: Collection[str]) -> DeadLetters:
    """Look at the dead letters, which stay where they are.

    Args:
        queues: of the bucket.
        bucket: whose files they tell of.
        declared: the datasets that have a contract.

    Raises:
        QueueUnavailable: SQS does not answer, or somebody else has some of them in hand: try again.
        QueueRefused: the role may not count them.
    """
    bodies, unread = queues.dead_bodies()
    each = [_datasets(body, bucket).intersection(declared) for body in bodies]
    return DeadLetters(
        by_dataset=Counter(dataset for datasets in each for dataset in datasets),
        strays=sum(not datasets for datasets in each),
        unread=unread,
    )


def _datasets(body: str, bucket: str) -> set[str]:
    try:
        named = {dataset_of(ref.key) for ref in objects_of(body) if ref.bucket == bucket}
    except NotAnEvent:
        return set()
    return {dataset for dataset in named if dataset is not None}
