"""The supervised stack: start, join, unclean ends. Only its PostgreSQL servers, for speed."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.errors import ConfigurationError
from deployments.local import leftovers, stack
from deployments.local.home import Home, load_secrets
from deployments.local.stack import StackBusy, StackDown

SERVERS = ("postgres-sources", "postgres-platform")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home whose path has spaces, a percent sign and a quote in it, stopped and checked afterwards."""
    monkeypatch.setenv("FLOE_HOME", str(tmp_path / "a company's 100% home"))
    home = Home.open()
    yield home
    stack.down(lambda _: None)
    assert leftovers.find(home) == []


def up(home: Home) -> tuple[stack.Stack, list[str]]:
    """Start the PostgreSQL servers and return what was said meanwhile."""
    said: list[str] = []
    return stack.up(said.append, only=SERVERS), said


def test_up_serves_on_loopback_only_and_down_ends_every_process(home: Home) -> None:
    running, _ = up(home)
    processes = leftovers.find(home)
    listening = {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    assert {running.supervisor.states()[name]["statename"] for name in SERVERS} == {"RUNNING"}
    assert stack.down(lambda _: None) is True
    assert [process for process in processes if process.is_running()] == []


def test_a_second_up_joins_the_running_stack(home: Home) -> None:
    first, _ = up(home)
    before = first.supervisor.states()["postgres-platform"]["pid"]
    second, said = up(home)
    assert said[0] == "The stack is already running"
    assert second.supervisor.states()["postgres-platform"]["pid"] == before


def test_after_kill_9_of_the_supervisor_up_ends_the_orphans_and_starts_anew(home: Home) -> None:
    first, _ = up(home)
    orphans = leftovers.find(home)
    supervisor = int((home.root / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor)] if psutil.pid_exists(supervisor) else [], timeout=10)
    second, said = up(home)
    assert said[0].startswith("An earlier stack did not stop cleanly")
    assert [process for process in orphans if process.is_running()] == []
    assert second.ports == first.ports


def test_a_half_made_data_folder_does_not_pass_for_a_cluster(home: Home) -> None:
    half_made = home.sources.parent / ".sources-crashed" / "data"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("16\n")
    running, _ = up(home)
    assert running.supervisor.states()["postgres-sources"]["statename"] == "RUNNING"


def test_two_commands_at_once_are_told_apart(home: Home) -> None:
    with FileLock(home.lock), pytest.raises(StackBusy, match="Another floe command is starting or stopping"):
        stack.up(lambda _: None, only=SERVERS)


def test_without_a_stack_the_next_command_is_named(home: Home) -> None:
    with pytest.raises(StackDown, match="Next: floe up"):
        stack.current()


def test_without_any_prefect_server_none_is_started_for_the_moment(home: Home) -> None:
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ConfigurationError, match="PREFECT_API_URL is not set"),
    ):
        stack.reach_prefect()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        stack.reach_prefect()


def test_files_with_secrets_are_the_owners_alone(home: Home) -> None:
    up(home)
    for file in (home.secrets_file, home.passfile, home.stack_env, home.supervisor_config):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_no_secret_stands_in_a_command_line_or_a_log(home: Home) -> None:
    up(home)
    secrets = load_secrets(home.secrets_file)
    commands = " ".join(" ".join(process.cmdline()) for process in leftovers.find(home))
    logs = " ".join(file.read_text(errors="replace") for file in home.logs.glob("*"))
    for secret in (secrets.postgres_password, secrets.supervisor_password, secrets.airbyte_client_secret):
        assert secret not in commands
        assert secret not in logs
    assert secrets.postgres_password not in repr(secrets)
