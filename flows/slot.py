"""Slots of Prefect's global concurrency limits: one build of the marts at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger

# The lease of the slot, after which that of a killed process is free again. It is renewed when three quarters
# have passed, so a Prefect server may be away for a quarter of it: a start takes up to 35 seconds.
LEASE_SECONDS = 180


@contextmanager
def slot(limit: str, lease_seconds: int = LEASE_SECONDS) -> Iterator[None]:
    """Hold a slot of a global concurrency limit while the block runs.

    Giving it back does not fail what was done: while the Prefect server is away, its lease ends by itself.

    Args:
        limit: its name.
        lease_seconds: after a killed process its slot is free again within this time.
    """
    done = False
    try:
        with concurrency(limit, lease_duration=lease_seconds, strict=True):
            yield
            done = True
    except httpx.HTTPError as error:
        if not done:
            raise
        get_run_logger().warning(
            "The slot of %s is free in %s seconds, since the server did not take it back: %s",
            limit,
            lease_seconds,
            error,
        )
