"""Start and stop the laptop stack: every service, the sample, the connections, Prefect's objects."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from blocks.errors import ConfigurationError, PermanentError, ServiceUnavailable
from blocks.settings import load_settings, on_laptop
from deployments.local import leftovers, ports, postgres
from deployments.local.home import Home, Secrets, load_secrets
from deployments.local.services import (
    HOST,
    Service,
    prefect_environment,
    service_environment,
    services,
    stack_settings,
)
from deployments.local.supervision import Supervisor, write_config
from lambda_csv_loader.ducklake import install_extensions

READY_SECONDS = 120
SOURCES = ("crm", "erp", "accounting")

Say = Callable[[str], None]


class StackBusy(PermanentError):
    """Another `floe` command is starting or stopping this stack."""


class StackDown(PermanentError):
    """The command needs a running stack and there is none."""


@dataclass(frozen=True)
class Stack:
    """A running stack, as other commands need it."""

    home: Home
    ports: dict[str, int]
    supervisor: Supervisor
    services: list[Service]

    def environment(self) -> dict[str, str]:
        """Return the variables with which a process reaches this stack (Prefect's and Floe's)."""
        return {**prefect_environment(self.home, self.ports), "FLOE_HOME": str(self.home.root)}

    def enter(self) -> None:
        """Put `environment()` into this process, before prefect is imported."""
        os.environ.update(self.environment())
        load_settings.cache_clear()


def up(say: Say, *, only: tuple[str, ...] | None = None) -> Stack:
    """Start the stack's servers, or join the one that runs.

    Args:
        say: receives one sentence per thing done.
        only: start these services alone (tests); None for all.

    Raises:
        StackBusy: another command holds the lock.
        ServiceUnavailable: a service did not become ready; its last log lines are in the message.
    """
    home = Home.open()
    with _locked(home):
        secrets = load_secrets(home.secrets_file)
        stack = _running(home, secrets)
        if stack is not None:
            say("The stack is already running")
        else:
            stack = _launch(home, secrets, say)
        for service in stack.services:
            if not service.name.startswith(("worker-", "event-source")) and (
                only is None or service.name in only
            ):
                _start(stack, service, say)
        return stack


def start_workers(stack: Stack, say: Say) -> None:
    """Start what consumes work: the event source and the three workers.

    Apart from `up`, since the pools, blocks and deployments they need are registered in between.
    """
    with _locked(stack.home):
        for service in stack.services:
            if service.name.startswith(("worker-", "event-source")):
                stack.supervisor.start(service.name)
        say("Workers: airbyte-host, dbt-host, metabase-host")


def down(say: Say) -> bool:
    """Stop everything of this home's stack; return whether anything ran.

    PostgreSQL stops last, so that the others can finish what they write.
    """
    home = Home.open()
    with _locked(home):
        secrets = load_secrets(home.secrets_file)
        stack = _running(home, secrets)
        if stack is not None:
            # All consumers at once, then the servers they wrote to.
            for service in reversed(stack.services):
                stack.supervisor.stop(service.name, wait=service.name.startswith("postgres"))
            stack.supervisor.shut_down()
        remaining = leftovers.find(home)
        if remaining:
            say(f"Ending {len(remaining)} processes left behind by an earlier stop")
            leftovers.end(remaining)
        home.stack_env.unlink(missing_ok=True)
        return stack is not None or bool(remaining)


def current() -> Stack:
    """Return the running stack.

    Raises:
        StackDown: none runs in this home, or this is a company's host.
    """
    if not on_laptop():
        raise StackDown(
            "FLOE_PROFILE is aws, so no laptop stack is looked for",
            next_command="unset FLOE_PROFILE, then floe up",
        )
    home = Home.open()
    stack = _running(home, load_secrets(home.secrets_file)) if home.secrets_file.exists() else None
    if stack is None:
        raise StackDown(f"No stack runs in {home.root}", next_command="floe up")
    return stack


def enter_if_running() -> None:
    """Reach the laptop stack if one runs; else leave the environment, which may name a production server."""
    try:
        current().enter()
    except StackDown:
        return


def reach_prefect() -> None:
    """Reach the laptop stack if one runs; else the Prefect server that the environment or profile names.

    With `FLOE_PROFILE=aws` always the latter.

    Raises:
        ConfigurationError: neither. Prefect by itself would start a server for the moment and change that.
    """
    enter_if_running()
    # Prefect reads its settings when it is imported.
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():
        raise ConfigurationError(
            "No Prefect server is known: no stack runs here and PREFECT_API_URL is not set",
            state="nothing was changed",
            next_command="floe up, or: export PREFECT_API_URL=http://<server>:4200/api",
        )


def _running(home: Home, secrets: Secrets) -> Stack | None:
    if not home.ports_file.exists() or not home.stack_env.exists():
        return None
    used = json.loads(home.ports_file.read_text())
    supervisor = Supervisor(home, used["supervisor"], secrets.supervisor_password)
    return Stack(home, used, supervisor, services(home, used)) if supervisor.is_running() else None


def _launch(home: Home, secrets: Secrets, say: Say) -> Stack:
    remaining = leftovers.find(home)
    if remaining:
        say(f"An earlier stack did not stop cleanly; ending its {len(remaining)} processes")
        leftovers.end(remaining)
    chosen, notes = ports.choose(home.ports_file)
    for note in notes:
        say(note)
    install_extensions(home.extensions)
    postgres.write_passfile(home.passfile, secrets.postgres_password)
    for data in (home.sources, home.platform):
        postgres.initialise(data, secrets.postgres_password)
    home.dashboards.mkdir(exist_ok=True)
    declared = services(home, chosen)
    config = write_config(home, declared, chosen["supervisor"], secrets.supervisor_password)
    _write_stack_env(home, stack_settings(home, secrets, chosen))
    supervisor = Supervisor(home, chosen["supervisor"], secrets.supervisor_password)
    supervisor.launch(config, service_environment(home, secrets, chosen))
    return Stack(home, chosen, supervisor, declared)


def _start(stack: Stack, service: Service, say: Say) -> None:
    started = time.monotonic()
    stack.supervisor.start(service.name)
    deadline = started + READY_SECONDS
    while service.ready is not None and not service.ready():
        state = stack.supervisor.states()[service.name]["statename"]
        if state in ("FATAL", "EXITED", "STOPPED", "BACKOFF") or time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"{service.name} did not become ready ({state.lower()}): {_last_lines(stack, service)}",
                state="the other services keep running",
                next_command=f"floe logs {service.name}, then floe down && floe up",
            )
        time.sleep(0.1)
    if service.name == "postgres-sources":
        for name in SOURCES:
            postgres.create_database(HOST, stack.ports[service.name], name, stack.home.passfile)
    if service.name == "postgres-platform":
        postgres.create_database(HOST, stack.ports[service.name], "lake", stack.home.passfile)
    say(f"{service.name} is ready ({time.monotonic() - started:.1f} s)")


def _last_lines(stack: Stack, service: Service) -> str:
    log = stack.home.logs / f"{service.name}.log"
    return " | ".join(log.read_text(errors="replace").splitlines()[-5:]) if log.exists() else "no log"


def _write_stack_env(home: Home, variables: dict[str, str]) -> None:
    home.stack_env.touch(mode=0o600)
    home.stack_env.chmod(0o600)
    home.stack_env.write_text("".join(f"{key}='{value}'\n" for key, value in variables.items()))


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    try:
        with FileLock(home.lock, timeout=0):
            yield
    except Timeout:
        raise StackBusy(
            f"Another floe command is starting or stopping the stack in {home.root}",
            next_command="wait for it to end, then try again",
        ) from None
