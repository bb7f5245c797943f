"""Slots of Prefect's global concurrency limits: one build of the marts at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.logging import get_run_logger

from blocks.errors import ConfigurationError, FloeError, ServiceUnavailable

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

    Raises:
        ServiceUnavailable: the Prefect server went away before the slot was ours.
        ConfigurationError: it has no such limit.
    """
    done = False
    try:
        with concurrency(limit, lease_duration=lease_seconds, strict=True):
            yield
            done = True
    except ConcurrencySlotAcquisitionError as error:
        raise _not_held(limit, error) from None
    except httpx.HTTPError as error:
        if not done:
            raise
        get_run_logger().warning(
            "The slot of %s is free in %s seconds, since the server did not take it back: %s",
            limit,
            lease_seconds,
            error,
        )


def _not_held(limit: str, error: ConcurrencySlotAcquisitionError) -> FloeError:
    state, cause = "nothing of what needs the slot was begun", error.__cause__
    if cause is None:
        return ConfigurationError(
            f"The Prefect server has no limit {limit}", state=state, next_command="floe deploy"
        )
    return ServiceUnavailable(
        f"The Prefect server did not give a slot of {limit}: {cause or type(cause).__name__}",
        state=state,
        next_command="look at the Prefect server, then run it again",
    )
