"""Dead letters of no dataset of the daily run: it tells of them, once it has done its work."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from typing import cast

from blocks.errors import PermanentError
from blocks.object_store import LandingBucket
from flows.retries import Steps
from lambda_csv_loader.dead_letters import DeadLetters


class StrayDeadLetters(PermanentError):
    """Messages lie in the dead-letter queue for which no other run of the day answers."""


def refuse_strays(datasets: Collection[str]) -> None:
    """Fail when dead letters are of no declared dataset, or of one that is not brought in every day.

    Runs of `ingest-csv` answer for their own dataset only: what is nobody's would reach the owners of all of
    them, who can do nothing about it. The daily run is the platform's.

    Args:
        datasets: of the daily run, whose own runs have answered for theirs.

    Raises:
        StrayDeadLetters: there are some.
        QueueUnavailable: the queue did not answer, several times in a row.
        QueueRefused: the host's role may not count them.
    """
    with closing(cast(LandingBucket, LandingBucket.load("landing"))) as landing:
        found = Steps().run("see that no dead letter is nobody's", landing.dead_letters)
    others = {dataset: count for dataset, count in found.by_dataset.items() if dataset not in datasets}
    if words := DeadLetters(others, found.strays).in_words():
        raise StrayDeadLetters(
            f"Messages in the dead-letter queue tell of no file of a dataset of this run: {words}",
            state="everything else of this run is done; the messages wait there",
            next_command="floe files status; delete them from that queue, or declare their dataset, then "
            "floe files replay --dead-letters",
        )
