"""The results that runs keep, so that one which is started again goes on: they go with their runs.

Prefect removes none by itself. A file of its local storage has a name that tells nothing, a hash of the
step or a random one, so what the server says of a run decides which are its own: the states of the run and
of its task runs, also earlier ones, since each attempt that failed has left its error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.filesystems import LocalFileSystem
from prefect.results import ResultRecordMetadata  # type: ignore[attr-defined]
from prefect.settings import get_current_settings

from blocks.errors import ConfigurationError
from blocks.server_pages import all_pages


class RemovedResults(NamedTuple):
    """What became of the results of runs.

    Attributes:
        files: that are gone.
        bytes: their size.
        elsewhere: results outside this host's folders, which are left to the storage that has them.
    """

    files: int = 0
    bytes: int = 0
    elsewhere: int = 0


class RunResults:
    """The results that are kept on this host.

    Args:
        client: of the Prefect server.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._folders: dict[UUID | None, Path | None] = {None: _default_folder()}

    def remove(self, runs: Sequence[UUID]) -> RemovedResults:
        """Remove the results of runs, which must have ended and be about to be removed themselves.

        Args:
            runs: with their sub-flows' runs.

        Raises:
            ConfigurationError: a file may not be removed; its run is still there.
        """
        files = size = elsewhere = 0
        for storage, key in self._kept(runs):
            folder = self._folder(storage)
            path = (folder / key).resolve() if folder else None
            if path is None or folder not in path.parents:
                elsewhere += 1
            elif (freed := _unlinked(path)) is not None:
                files, size = files + 1, size + freed
        return RemovedResults(files, size, elsewhere)

    def _kept(self, runs: Sequence[UUID]) -> set[tuple[UUID | None, str]]:
        """Return the storage, None for the host's own, and the key of each result."""
        found = [state.data for state in self._states(runs) if isinstance(state.data, ResultRecordMetadata)]
        return {(each.storage_block_id, each.storage_key) for each in found if each.storage_key}

    def _states(self, runs: Sequence[UUID]) -> Iterator[State]:
        which = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
        for run in all_pages(self._client.read_flow_runs, flow_run_filter=which):
            yield from [run.state] if run.state else []
            if run.run_count > 1:
                yield from self._client.read_flow_run_states(run.id)
        for step in all_pages(self._client.read_task_runs, flow_run_filter=which):
            yield from [step.state] if step.state else []
            if step.run_count > 1:
                yield from self._client.read_task_run_states(step.id)

    def _folder(self, storage: UUID | None) -> Path | None:
        """Return the folder of a storage on this host; None for one in a bucket, or that is gone."""
        if storage is not None and storage not in self._folders:
            self._folders[storage] = self._block_folder(storage)
        return self._folders[storage]

    def _block_folder(self, storage: UUID) -> Path | None:
        try:
            document = self._client.read_block_document(storage)
        except ObjectNotFound:
            return None
        if document.block_type is None or document.block_type.slug != LocalFileSystem.get_block_type_slug():
            return None
        return Path(document.data.get("basepath") or ".").expanduser().resolve()


def _default_folder() -> Path:
    return get_current_settings().results.local_storage_path.expanduser().resolve()


def _unlinked(path: Path) -> int | None:
    """Remove a file and return its size; None when there is none, as after an interrupted removal."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(
            f"The result {path} of an old run cannot be removed: {error.strerror}",
            state="its run stays, with those that were not yet removed",
            next_command="let the user of the dbt-host worker write there, then floe run maintain/daily",
        ) from None
    return size
