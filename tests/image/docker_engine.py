"""A Docker engine: the one that answers, else one of the test's own in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

READY_SECONDS = 60


@dataclass(frozen=True)
class Engine:
    """How to reach an engine.

    Attributes:
        variables: for the environment of `docker`, `make image` and the like.
        private: whether it ends with the test, with everything in it.
    """

    variables: dict[str, str]
    private: bool

    def run(self, *arguments: str | Path, timeout: float = 120) -> str:
        """Run `docker` with these arguments and return what it printed; an error fails the test."""
        return output("docker", *arguments, timeout=timeout, variables=self.variables)

    def answers(self) -> bool:
        """Return whether the engine can be used."""
        command = ["docker", "info", "--format", "{{.ServerVersion}}"]
        environment = {**os.environ, **self.variables}
        return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode == 0


def output(*command: str | Path, timeout: float, variables: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; when it fails, fail the test with what it said."""
    done = subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        asked = " ".join(map(str, command))
        pytest.fail(f"{asked} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def running_engine(folder: Path) -> Iterator[Engine]:
    """Yield the engine that answers; without one start a private engine in `folder` and end it."""
    if shutil.which("docker") is None:
        pytest.fail("There is no `docker`. Next: apt-get install docker.io mmdebstrap")
    own = Engine({}, private=False)
    if own.answers():
        yield own
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.fail(
            "No Docker engine answers, and none can be started: that takes root and `dockerd`. "
            "Next: start Docker, or as root apt-get install docker.io mmdebstrap"
        )
    with _private_engine(folder) as engine:
        yield engine


@contextlib.contextmanager
def _private_engine(folder: Path) -> Iterator[Engine]:
    log, socket = folder / "dockerd.log", folder / "docker.sock"
    folders = ["--data-root", folder / "data", "--exec-root", folder / "exec", "-p", folder / "dockerd.pid"]
    # No bridge, no rule of a firewall: it would stay behind on the machine, and no test needs it.
    network = ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    command = ["dockerd", *folders, *network, "-H", f"unix://{socket}"]
    with log.open("w") as said:
        daemon = subprocess.Popen([str(word) for word in command], stdout=said, stderr=said)
    # What docker would otherwise write to the person's home goes to the folder, too.
    engine = Engine({"DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(folder)}, private=True)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not engine.answers():
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"dockerd does not become ready:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield engine
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        # The namespace of host networking stays mounted when the daemon ends.
        subprocess.run(["umount", folder / "exec/netns/default"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
