"""The loader against a real object store and a real lake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_stack import (
    Cluster,
    FileStack,
    StoreProcess,
    handler_environment,
    new_stack,
    running_store,
)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """One object store for the room's tests."""
    with running_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    store: StoreProcess,
    cluster: Cluster,
    extension_directory: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FileStack]:
    """A bucket, a lake and contracts for one module, with the handler set up for them."""
    made = new_stack(store, cluster, extension_directory, tmp_path_factory.mktemp("stack"))
    with handler_environment(made):
        made.drain()  # the event that tells of the new notification
        yield made
