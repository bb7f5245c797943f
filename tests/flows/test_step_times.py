"""The table of a run's steps, on a real Prefect server."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from flows import step_times
from flows.step_times import StepTimes


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that steps are measured by."""
    made = Clock()
    monkeypatch.setattr(step_times, "time", made)
    return made


def newest(key: str) -> list[dict[str, Any]]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    rows: list[dict[str, Any]] = json.loads(str(found[0].data))
    return rows


def test_a_step_stands_beside_the_median_of_earlier_runs(prefect_server: None, clock: Clock) -> None:
    key = f"times-{uuid4()}"

    @flow
    def steps(**seconds: float) -> None:
        times = StepTimes(key)
        for step, each in seconds.items():
            times.measure(step, lambda each=each: setattr(clock, "now", clock.now + each))
        times.show("How the time divides")

    steps(load=1)
    assert newest(key) == [{"step": "load", "seconds": 1, "usually": None}]
    for seconds in (3, 100):
        steps(load=seconds)
    steps(load=4, build=5)
    assert newest(key) == [
        {"step": "load", "seconds": 4, "usually": 3},
        {"step": "build", "seconds": 5, "usually": None},
    ]
