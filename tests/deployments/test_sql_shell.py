"""`floe sql` where nothing answers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.errors import ConfigurationError
from blocks.settings import load_settings
from deployments.sql_shell import shell
from deployments.terminal import console
from lambda_csv_loader.writer import WarehouseUnavailable
from tests.postgres_server import free_port


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home without a stack, and none of Floe's variables."""
    for name in [name for name in os.environ if name.startswith("FLOE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLOE_HOME", str(tmp_path))
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def test_without_a_stack_it_says_so_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as told:
        shell("select 1", console)
    assert str(told.value) == (
        f"No stack runs in {tmp_path}, and no variables say where another is: FLOE_AIRBYTE__..., "
        "FLOE_OBJECT_STORE__..., FLOE_WAREHOUSE__...\n"
        "State: nothing was asked or changed\n"
        "Next: floe up, or set these variables"
    )


def test_variables_that_are_there_in_part_are_named_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_OBJECT_STORE__BUCKET", "b")
    with pytest.raises(ConfigurationError, match="FLOE_OBJECT_STORE__QUEUE_URL: Field required"):
        shell("select 1", console)


def test_a_catalog_that_is_down_is_named(
    tmp_path: Path, extension_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "AIRBYTE": '{"server_url": "http://127.0.0.1:9", "client_id": "x", "client_secret": "x"}',
        "OBJECT_STORE": '{"bucket": "b", "queue_url": "q", "dead_letter_queue_url": "d"}',
        "WAREHOUSE__TYPE": "ducklake",
        "WAREHOUSE__PORT": str(port := free_port()),
        "WAREHOUSE__DATABASE": "lake",
        "WAREHOUSE__PASSFILE": str(tmp_path / "passfile"),
        "WAREHOUSE__DATA_PATH": str(tmp_path / "lake"),
        "WAREHOUSE__EXTENSION_DIRECTORY": str(extension_directory),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"FLOE_{name}", value)
    with pytest.raises(
        WarehouseUnavailable, match=f"127.0.0.1:{port} does not answer: .*refused\n.*\nNext: floe status"
    ):
        shell("select 1", console)
