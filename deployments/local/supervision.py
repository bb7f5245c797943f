"""supervisord (http://supervisord.org) keeps the stack's processes: written, started, asked and stopped here.

supervisord runs in a session of its own, so a Ctrl-C in the terminal reaches `floe` alone, which
then stops the stack in order. It is asked over XML-RPC on loopback, with a password.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import psutil

from blocks.errors import ServiceUnavailable
from deployments.local.home import Home
from deployments.local.services import HOST, Service

# supervisord's own fault codes (supervisor/xmlrpc.py, class Faults).
ALREADY_STARTED, NOT_RUNNING = 60, 70


def write_config(home: Home, services: list[Service], port: int, password: str) -> Path:
    """Write supervisord's configuration, readable by its owner only (it holds the RPC password)."""
    lines = [
        "[supervisord]",
        # Relative to its working folder: supervisord expands `%` in these paths more than once.
        "logfile=logs/supervisord.log",
        "logfile_maxbytes=1MB",
        "pidfile=supervisord.pid",
        "[inet_http_server]",
        f"port={HOST}:{port}",
        "username=floe",
        f"password={password}",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for service in services:
        command = " ".join(f'"{_escaped(part)}"' for part in service.command)
        lines += [
            f"[program:{service.name}]",
            f"command={command}",
            "autostart=false",
            "autorestart=true",
            "startsecs=0",
            f"stopsignal={service.stop_signal}",
            "stopwaitsecs=20",
            # PostgreSQL asks its own children; the others take theirs with them.
            f"stopasgroup={'false' if service.account or service.stop_signal == 'INT' else 'true'}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile=logs/{service.name}.log",
            "stdout_logfile_maxbytes=5MB",
            "stdout_logfile_backups=1",
            *([f"user={service.account}"] if service.account else []),
        ]
    file = home.supervisor_config
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")
    return file


def _escaped(value: object) -> str:
    return str(value).replace("%", "%%")


class Supervisor:
    """A running (or absent) supervisord of one home."""

    def __init__(self, home: Home, port: int, password: str) -> None:
        self._home = home
        credentials = base64.b64encode(f"floe:{password}".encode()).decode()
        self._rpc = xmlrpc.client.ServerProxy(
            f"http://{HOST}:{port}/RPC2", headers=[("Authorization", f"Basic {credentials}")]
        )

    def is_running(self) -> bool:
        """Tell whether this home's supervisord answers."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (OSError, xmlrpc.client.Error):
            return False

    def launch(self, config: Path, environment: Mapping[str, str]) -> None:
        """Start supervisord as a daemon with `environment` on top of ours.

        Raises:
            ServiceUnavailable: it did not answer within 15 seconds.
        """
        log = self._home.logs / "supervisord.out"
        with log.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._home.root,
                env={**os.environ, **environment},
            )
        for _ in range(150):
            if self.is_running():
                return
            if process.poll() is not None:
                break
            time.sleep(0.1)
        raise ServiceUnavailable(
            f"The supervisor of the stack did not start: {log.read_text().strip()[-500:] or 'no output'}",
            state="no service was started",
            next_command="floe up",
        )

    def start(self, name: str) -> None:
        """Start one service; one that runs already is left alone."""
        try:
            self._call("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != ALREADY_STARTED:
                raise

    def stop(self, name: str, *, wait: bool = True) -> None:
        """Stop one service; one that does not run is left alone."""
        try:
            self._call("stopProcess", name, wait)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != NOT_RUNNING:
                raise

    def states(self) -> dict[str, dict[str, Any]]:
        """Return supervisord's own description of each service, by name."""
        return {info["name"]: info for info in cast(list[dict[str, Any]], self._call("getAllProcessInfo"))}

    def shut_down(self) -> None:
        """Stop every service and supervisord itself, and wait for its end."""
        pid = int(self._call("getPID"))
        self._call("shutdown")
        try:
            psutil.Process(pid).wait(60)
        except psutil.NoSuchProcess:
            return

    def _call(self, method: str, *arguments: object) -> Any:
        return getattr(self._rpc.supervisor, method)(*arguments)
