"""A real PostgreSQL in a folder of a test, which may be stopped, killed and started again."""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from deployments.local import postgres

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One server on a port of its own, with a password that only its files hold."""

    def __init__(self, home: Path, *options: str) -> None:
        """Make the data folder; nothing runs yet.

        Args:
            home: an empty folder.
            options: of the server's command line.
        """
        self.password, self.port = secrets.token_urlsafe(12), free_port()
        self._home, self._options = home, options
        self._process: subprocess.Popen[bytes] | None = None
        postgres.initialise(home / "data", self.password)
        self.passfile = postgres.write_passfile(home / "passfile", self.password)

    def start(self) -> None:
        """Start it and wait until it answers."""
        account = postgres.service_account()
        identity: dict[str, Any] = {"user": pwd.getpwnam(account).pw_uid, "cwd": "/"} if account else {}
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*postgres.serve_command(self._home / "data", self.port), *self._options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **identity,
            )
        deadline = time.monotonic() + 60
        while not postgres.accepts_connections(HOST, self.port, self.passfile):
            assert time.monotonic() < deadline, (self._home / "log").read_text()
            time.sleep(0.1)

    def create_database(self, name: str = "lake") -> str:
        """Create a database and return its name."""
        postgres.create_database(HOST, self.port, name, self.passfile)
        return name

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """End the server and each of its processes as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None
