"""The Snowflake emulator in a process of its own, and the file path's stack on it.

fakesnow needs another DuckDB than Floe, so it has a virtual environment of its own, `.venv-fakesnow`
(`make .venv-fakesnow/installed`); only the real connector speaks to it, over HTTP.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from file_stack import ROOT

from lambda_csv_loader.settings import SnowflakeSettings
from tests.postgres_server import free_port

PYTHON = ROOT / ".venv-fakesnow/bin/python"
PASSPHRASE = "not-a-secret"
_numbers = itertools.count(1)


@contextlib.contextmanager
def running_fakesnow(
    folder: Path, script: Path = ROOT / "tests/fakesnow_server.py", *arguments: str
) -> Iterator[int]:
    """Run an emulator; give its port.

    Args:
        folder: takes the log and what the emulator stages.
        script: starts the emulator on the port that is its first argument.
        arguments: further ones of the script.
    """
    if not PYTHON.exists():
        pytest.skip("the Snowflake emulator is not installed. Next: make .venv-fakesnow/installed")
    port, log = free_port(), folder / "fakesnow.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [PYTHON, script, str(port), *arguments],
            stdout=output,
            stderr=output,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)},
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text())
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)


def account(port: int, key: str) -> SnowflakeSettings:
    """Return settings of a database of its own on the emulator."""
    return SnowflakeSettings(
        account="fakesnow",
        user="FLOE_LOADER",
        private_key=key,
        private_key_passphrase=PASSPHRASE,
        role="FLOE_LOADER",
        warehouse="LOADING",
        database=f"FLOE_{next(_numbers)}",
        host="127.0.0.1",
        port=port,
        protocol="http",
        login_timeout=2,
        network_timeout=10,
    )


def new_key() -> str:
    """Return a private key as a user makes it: RSA, PKCS#8, with a passphrase."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE.encode())
    ).decode()


def behaviours(name: str, *, left_out: dict[str, str]) -> dict[str, Any]:
    """Return the tests and fixtures of another module, to run them on another stack.

    Args:
        name: of the module, in `tests/lambda_csv_loader`.
        left_out: tests that this stack does not allow, each with the reason.
    """
    folder = str(ROOT / "tests/lambda_csv_loader")
    if folder not in sys.path:
        sys.path.append(folder)
    module: ModuleType = importlib.import_module(name)
    missing = left_out.keys() - vars(module).keys()
    if missing:
        raise LookupError(f"{name} has no {', '.join(sorted(missing))}")
    return {
        name: item
        for name, item in vars(module).items()
        if name not in left_out and (name.startswith("test_") or isinstance(item, _FIXTURE))
    }


class Watched:
    """A connection that shows its statements to `watch`, "before" and "after" they run."""

    def __init__(self, inner: Any, watch: Callable[[str, str], object]) -> None:
        self._inner, self._watch = inner, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def cursor(self) -> Any:
        return WatchedCursor(self._inner.cursor(), self._watch)


class WatchedCursor:
    """A cursor of a `Watched` connection."""

    def __init__(self, inner: Any, watch: Callable[[str, str], object]) -> None:
        self._inner, self._watch = inner, watch

    def execute(self, statement: str, values: Sequence[object] | None = None) -> Any:
        self._watch("before", statement)
        result = self._inner.execute(statement, values)
        self._watch("after", statement)
        return result


_FIXTURE = type(pytest.fixture(lambda: None))


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
