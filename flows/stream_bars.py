"""The progress of a sync in Prefect's UI, and what a flow run must remember of it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import cast
from uuid import UUID

import httpx
from prefect import get_client
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_logger
from prefect.runtime import flow_run

from blocks.airbyte_watch import JobProgress, StreamCounts

Stream = tuple[str | None, str]
_LABEL = "floe.newest-job-before"
_logger = get_logger("replicate")


class StreamBars:
    """One progress artifact per stream, `replicate-<source>-<stream>`, sent only when it has moved.

    A bar that cannot be drawn is no reason to end a sync: a hiccup of Prefect's API is logged.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._artifacts: dict[Stream, UUID] = {}
        self._shown: dict[Stream, float] = {}

    def show(self, progress: JobProgress) -> None:
        """Show how far each stream is."""
        for stream in progress.streams or ():
            self._move(stream, _share(stream))

    def finish(self) -> None:
        """Fill every bar: the sync has succeeded."""
        for stream in list(self._artifacts):
            self._set(stream, 100.0, f"{stream[1]}: done")

    def _move(self, stream: StreamCounts, share: float) -> None:
        words = f"{stream.name}: {stream.rows_read} of {stream.estimated or '?'} rows"
        self._set((stream.namespace, stream.name), share, words)

    def _set(self, stream: Stream, share: float, words: str) -> None:
        if self._shown.get(stream) != share and drawn(lambda: self._draw(stream, share, words)):
            self._shown[stream] = share

    def _draw(self, stream: Stream, share: float, words: str) -> None:
        if stream in self._artifacts:
            update_progress_artifact(self._artifacts[stream], progress=share, description=words)
        else:
            created = create_progress_artifact(
                progress=share, key=bar_key(self._source, *stream), description=words
            )
            self._artifacts[stream] = cast(UUID, created)


def drawn(draw: Callable[[], object]) -> bool:
    """Draw something in Prefect's UI; tell whether it worked, log why not."""
    try:
        draw()
    except httpx.HTTPError as error:
        _logger.warning("Prefect's API did not take a progress bar: %s", error or type(error).__name__)
        return False
    return True


def bar_key(source: str, namespace: str | None, name: str) -> str:
    """Return the key of a stream's bar: without its schema where that is PostgreSQL's usual one."""
    schema = [] if namespace in (None, "public") else [str(namespace)]
    return artifact_key("replicate", source, *schema, name)


def artifact_key(*parts: str) -> str:
    """Return an artifact key: lower-case letters, digits and dashes only, as Prefect asks for.

    Where that loses something, so that two names could have one key, a checksum of the name is added.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    plain = len(parts) <= 3 and all(re.fullmatch("[a-z0-9]+", part) for part in parts[:2])
    if plain and re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", parts[-1]):
        return readable
    return f"{readable}-{zlib.crc32(chr(0).join(parts).encode()):08x}"


def newest_job_before(look: Callable[[], int]) -> int | None:
    """Return the newest job from before this flow run first began.

    A flow run that is tried again must find the sync it started the last time. So the newest job is
    written into the run's labels before anything is started, and read from there by the next try.

    Args:
        look: returns the newest job as of now.

    Returns:
        Its id; as of now when Prefect's API has trouble, None outside of a flow run.
    """
    if flow_run.id is None:
        return None
    run, newest = UUID(str(flow_run.id)), None
    try:
        with get_client(sync_client=True) as client:
            label = client.read_flow_run(run).labels.get(_LABEL)
            if label is not None:
                return int(label)
            newest = look()
            client.update_flow_run_labels(run, {_LABEL: newest})
    except httpx.HTTPError as error:
        _logger.warning(
            "If this run is tried again, it may sync once more: %s", error or type(error).__name__
        )
        # Good enough for another try of the sync within this run.
        return look() if newest is None else newest
    return newest


def _share(stream: StreamCounts) -> float:
    """Return how much of a stream is done, in whole percent."""
    if stream.estimated is None:
        return 0.0
    return 100.0 if stream.estimated == 0 else float(min(100, stream.rows_read * 100 // stream.estimated))
