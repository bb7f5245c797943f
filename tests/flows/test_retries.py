"""Retries by class, on a real Prefect server."""

from __future__ import annotations

import pytest
from prefect import flow, task

from blocks.errors import ConfigurationError, ServiceUnavailable
from flows.retries import by_class


def tries_of(error: Exception, failures: int) -> int:
    """Run a task that raises `error` in its first `failures` tries; return how often it was tried."""
    tries = []

    @task(**by_class(first_pause_seconds=0.01))
    def work() -> None:
        tries.append(1)
        if len(tries) <= failures:
            raise error

    @flow
    def parent() -> None:
        work()

    parent(return_state=True)
    return len(tries)


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("error", "failures", "tries"),
    [
        pytest.param(ServiceUnavailable("down"), 2, 3, id="transient, then well"),
        pytest.param(ServiceUnavailable("down"), 9, 4, id="transient for ever"),
        pytest.param(ConfigurationError("wrong"), 9, 1, id="permanent"),
        pytest.param(ZeroDivisionError(), 9, 1, id="a bug"),
    ],
)
def test_only_transient_failures_are_tried_again(error: Exception, failures: int, tries: int) -> None:
    assert tries_of(error, failures) == tries
