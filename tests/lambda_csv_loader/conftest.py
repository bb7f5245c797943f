"""The loader against a real object store and a real lake, or the emulated Snowflake."""

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
    stack_on,
)
from snowflake_stack import account, new_key, running_fakesnow

from lambda_csv_loader.settings import SnowflakeSettings


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


@pytest.fixture(scope="session")
def fakesnow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One Snowflake emulator for the room's tests: its port."""
    with running_fakesnow(tmp_path_factory.mktemp("fakesnow")) as port:
        yield port


@pytest.fixture(scope="session")
def private_key() -> str:
    """The key that the loader logs in with."""
    return new_key()


@pytest.fixture(scope="module")
def snowflake(fakesnow: int, private_key: str) -> SnowflakeSettings:
    """An empty database on the emulator, for one module."""
    return account(fakesnow, private_key)


@pytest.fixture(scope="module")
def snowflake_stack(
    store: StoreProcess, snowflake: SnowflakeSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FileStack]:
    """What `stack` is, on the emulated Snowflake."""
    made = stack_on(snowflake, store, tmp_path_factory.mktemp("stack"))
    with handler_environment(made):
        made.drain()
        yield made
