"""Dead letters that are of no dataset: the daily run tells of them, once it has done its work."""

from __future__ import annotations

from contextlib import closing
from typing import cast

from blocks.errors import PermanentError
from blocks.object_store import LandingBucket
from flows.retries import Steps


class StrayDeadLetters(PermanentError):
    """Messages lie in the dead-letter queue that tell of no declared dataset's file."""


def refuse_strays() -> None:
    """Fail when dead letters are of no declared dataset.

    Runs of `ingest-csv` answer for their own dataset only: what is nobody's would reach the owners of all of
    them, who can do nothing about it. The daily run is the platform's.

    Raises:
        StrayDeadLetters: there are some.
        QueueUnavailable: the queue did not answer, several times in a row.
    """
    with closing(cast(LandingBucket, LandingBucket.load("landing"))) as landing:
        found = Steps().run("see that no dead letter is nobody's", landing.dead_letters)
    if found.strays:
        raise StrayDeadLetters(
            f"{found.strays} messages in the dead-letter queue tell of no file of a declared dataset",
            state="everything else of this run is done; the messages wait there",
            next_command="floe files status; delete them from that queue, or declare their dataset, then "
            "floe files replay --dead-letters",
        )
