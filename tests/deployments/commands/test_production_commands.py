"""The commands that the runbook names, on a company's host: no laptop stack is looked for there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from blocks.errors import ConfigurationError
from blocks.settings import load_settings
from deployments import run as running
from deployments.cli import _add_groups, app
from deployments.local import stack
from deployments.local.stack import StackDown
from flows.backfill import backfill

API = "http://127.0.0.1:9/api"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A company's host, with the settings of a laptop stack left in its home folder."""
    home = tmp_path / "home"
    monkeypatch.setenv("FLOE_PROFILE", "aws")
    monkeypatch.setenv("FLOE_HOME", str(home))
    load_settings.cache_clear()
    _add_groups()
    return home


@pytest.mark.parametrize(
    ("command", "deployment"),
    [
        (["run"], "elt/daily"),
        (["run", "replicate/crm"], "replicate/crm"),
        (["backfill", "--source", "crm", "--plan"], "backfill/manual"),
    ],
    ids=["run", "run another", "backfill"],
)
def test_runs_are_started_on_the_prefect_server_of_the_environment(
    command: list[str], deployment: str, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def follow(deployment: str, *_: Any) -> bool:
        asked.append((deployment, PREFECT_API_URL.value()))
        return True

    monkeypatch.setattr(running, "run_and_follow", follow)
    with temporary_settings({PREFECT_API_URL: API}):
        done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert (done.exit_code, asked) == (0, [(deployment, API)]), done.output
    assert not host.exists()


@pytest.mark.parametrize(("options", "dashboards"), [([], True), (["--no-dashboards"], False)], ids=str)
def test_a_backfill_draws_the_dashboards_unless_it_is_told_not_to(
    options: list[str], dashboards: bool, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def follow(deployment: str, console: object, parameters: dict[str, Any]) -> bool:
        asked.append(backfill.validate_parameters(parameters))
        return True

    monkeypatch.setattr(running, "run_and_follow", follow)
    with temporary_settings({PREFECT_API_URL: API}):
        CliRunner().invoke(app, ["backfill", "--source", "crm", *options], catch_exceptions=False)
    assert [(each["build"], each["dashboards"]) for each in asked] == [(True, dashboards)]


@pytest.mark.parametrize("command", [["run"], ["backfill", "--source", "crm"]], ids=" ".join)
def test_without_a_prefect_server_they_say_how_to_name_one(command: list[str], host: Path) -> None:
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ConfigurationError, match="export PREFECT_API_URL"),
    ):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_logs_say_where_a_host_keeps_them(host: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"worker-dbt-host keeps no log file here.*\n.*journalctl"):
        CliRunner().invoke(app, ["logs", "worker-dbt-host"], catch_exceptions=False)


def test_what_a_laptop_stack_left_is_not_taken_for_a_setting(host: Path) -> None:
    host.mkdir()
    (host / "stack.env").write_text("FLOE_AIRBYTE__SERVER_URL='http://127.0.0.1:1'\n")
    with pytest.raises(StackDown, match="no laptop stack is looked for"):
        stack.current()
    with pytest.raises(ConfigurationError, match="FLOE_AIRBYTE: Field required"):
        load_settings()
