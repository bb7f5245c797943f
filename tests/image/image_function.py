"""The image under test, and a container of it that works as a Lambda function."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker_engine import Engine
from file_stack import FileStack
from runtime_api import VARIABLES, FunctionFailed, RuntimeApi

from deployments.local.event_source import EventSource
from lambda_csv_loader.ducklake import DuckLakeSettings

TAG = "floe-csv-loader-test"
LIMITS = (
    "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges "
    "--memory 512m --memory-swap 512m"
)


@dataclass(frozen=True)
class Image:
    """A built image, and the secret that lay beside its sources and in the environment of its build."""

    engine: Engine
    base: str
    secret: str

    def python(self, code: str, *options: str) -> str:
        """Run Python code in a container as the function would run, and return what it printed."""
        options = ("--network", "none", *LIMITS.split(), *options)
        return self.engine.run("run", "--rm", *options, "--entrypoint", "python", TAG, "-c", code)


@dataclass
class Function:
    """A container of the image behind a Runtime API, with a queue before it."""

    api: RuntimeApi
    stack: FileStack
    engine: Engine
    container: str

    def work_off(self) -> None:
        """Hand the queue's messages to the container as Lambda does, until none is left.

        Raises:
            FunctionFailed: the function ended with an error, which Lambda would only retry.
        """
        failures: list[FunctionFailed] = []

        def invoke(event: dict[str, Any], _: object) -> dict[str, Any]:
            try:
                return self.api.invoke(event)
            except FunctionFailed as failure:
                failures.append(failure)
                raise

        source = EventSource(self.stack.store, invoke, retry_seconds=0, wait_seconds=0)
        while source.poll():
            if failures:
                raise failures[0]

    def logs(self) -> str:
        """Return what the function printed."""
        command = ["docker", "logs", self.container]
        environment = {**os.environ, **self.engine.variables}
        return subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
        ).stdout


def start_function(engine: Engine, stack: FileStack, passfile: Path, api: RuntimeApi) -> str:
    """Start the container; the contracts are the image's own."""
    assert isinstance(stack.warehouse, DuckLakeSettings)
    lake, user = stack.warehouse, ["--user", f"{os.geteuid()}:{os.getegid()}"]
    lake.data_path.mkdir()
    lake.extension_directory.chmod(0o755)
    shutil.copyfile(lake.passfile, passfile)
    passfile.chmod(0o600)
    if os.geteuid() == 0:
        # The image's own user then; libpq reads a pass file only if nobody else can.
        user = []
        owner = int(engine.run("inspect", "--format", "{{.Config.User}}", TAG).split(":")[0])
        for path in (lake.data_path, passfile):
            os.chown(path, owner, owner)
    variables = {**stack.environment(), **VARIABLES, "AWS_LAMBDA_RUNTIME_API": api.address}
    variables |= {"FLOE_WAREHOUSE__PASSFILE": str(passfile)}
    del variables["FLOE_DATASETS"]
    mounts = [f"{lake.data_path}:{lake.data_path}", f"{passfile}:{passfile}:ro"]
    mounts += [f"{lake.extension_directory}:{lake.extension_directory}:ro"]
    options = ["--detach", "--network", "host", *LIMITS.split(), *user]
    options += [word for mount in mounts for word in ("--volume", mount)]
    options += [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return engine.run("run", *options, TAG).strip()
