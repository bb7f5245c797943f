"""Waiting for a slot while the Prefect server is not as it should be."""

from __future__ import annotations

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.errors import ConfigurationError, ServiceUnavailable
from flows.slot import slot
from tests.scripted_server import Answer, scripted

INCREMENT = "POST /api/v2/concurrency_limits/increment-with-lease"
VERSION = "GET /api/admin/version"


def begun_with(answers: list[Answer], limit: str) -> bool:
    """Ask a server that answers so for a slot; return whether the work was begun."""
    begun = False
    script = {INCREMENT: answers, VERSION: [Answer(body="3.8.8")]}
    with scripted(script) as server:
        here = {PREFECT_API_URL: f"{server.url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
        with temporary_settings(here), slot(limit):
            begun = True
    return begun


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Answer(fault="reset"), "disconnected"),
        (Answer(503, body={"detail": "starting"}), "503"),
    ],
    ids=["it hangs up", "it cannot serve"],
)
def test_a_server_that_goes_away_meanwhile_is_told_as_such(fault: Answer, told: str) -> None:
    limit = f"lost by {told}"
    waits = Answer(423, headers={"Retry-After": "0.01"})
    with pytest.raises(
        ServiceUnavailable, match=f"slot of {limit}: .*{told}.*\n.*\nNext: look at the Prefect"
    ):
        begun_with([waits, fault], limit)


def test_a_limit_that_nobody_made_is_named() -> None:
    none = Answer(body={"lease_id": "7d3b8f62-0c2b-4d9e-8f5a-0d7a8c3f1a11", "limits": []})
    with pytest.raises(ConfigurationError, match=r"no limit nobodys\n.*\nNext: floe deploy"):
        begun_with([none], "nobodys")
