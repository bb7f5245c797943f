"""How long the steps of a run take, beside how long they usually take."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median

import httpx
from prefect import get_client
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.logging import get_run_logger

REMEMBERED = 10
"""Earlier runs, whose median is what is usual."""


class StepTimes:
    """Measures the steps of a run, and shows them as a table artifact beside earlier runs' medians.

    What is usual is read from the artifacts of the same key: they are kept as long as their runs.
    """

    def __init__(self, key: str) -> None:
        """Measure nothing yet.

        Args:
            key: of the artifact.
        """
        self._key = key
        self._seconds: dict[str, float] = {}

    def measure(self, step: str, work: Callable[[], object]) -> None:
        """Do `work` and keep how long it took; of one name, how long all of them took."""
        started = time.monotonic()
        work()
        self._seconds[step] = self._seconds.get(step, 0.0) + time.monotonic() - started

    def show(self, description: str) -> None:
        """Make the artifact.

        Args:
            description: its heading.
        """
        usual = self._usual()
        rows = [
            {"step": step, "seconds": round(seconds, 1), "usually": usual.get(step)}
            for step, seconds in self._seconds.items()
        ]
        create_table_artifact(key=self._key, description=description, table=rows)

    def _usual(self) -> dict[str, float]:
        """Return the median of each step; nothing when Prefect's API hiccups, which is no reason to fail."""
        try:
            with get_client(sync_client=True) as client:
                found = client.read_artifacts(
                    artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[self._key])),
                    sort=ArtifactSort.CREATED_DESC,
                    limit=REMEMBERED,
                )
        except httpx.HTTPError as error:
            get_run_logger().warning("What is usual could not be read: %s", error)
            return {}
        earlier: dict[str, list[float]] = {}
        for artifact in found:
            for row in json.loads(str(artifact.data)):
                earlier.setdefault(row["step"], []).append(row["seconds"])
        return {step: round(median(seconds), 1) for step, seconds in earlier.items()}
