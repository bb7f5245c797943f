"""The runbook names errors and commands that there are, and every error that a run can end with."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from deployments.cli import _add_groups, app
from lambda_csv_loader.errors import FloeError

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "deployments" / "RUNBOOK.md").read_text()
QUOTED = re.findall(r"`([^`]+)`", RUNBOOK)
# Errors of single rows, files or commands, which no run ends with.
NO_RUN_ENDS_WITH = {
    *("ObjectGone", "ObjectReplaced", "ObjectUnreadable", "OtherBucket", "NotAnEvent", "Surprise", "NotCsv"),
    *("NothingToReplay", "NothingToRollBack", "BadPrefix", "CountsDiffer", "InvalidDashboard"),
    *("MartMissing", "GrainBroken"),
}


def defined_errors() -> set[str]:
    """Return the names of Floe's error classes in the rooms that runs go through."""
    for room in ("blocks", "flows", "lambda_csv_loader"):
        for file in (ROOT / room).rglob("*.py"):
            source = file.read_text()
            if re.search(r"^class \w+\(\w*Error\):|^class \w+\(ServiceUnavailable\):", source, re.MULTILINE):
                import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    found, waiting = set(), [FloeError]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind.__module__.split(".")[0] in ("blocks", "flows", "lambda_csv_loader"):
                found.add(kind.__name__)
            waiting.append(kind)
    return found


def test_the_runbook_names_every_error_that_a_run_can_end_with() -> None:
    expected = defined_errors() - NO_RUN_ENDS_WITH - {"PermanentError", "TransientError"}
    assert expected - set(QUOTED) == set()


def test_every_error_in_the_runbook_exists() -> None:
    named = {word for word in QUOTED if re.fullmatch(r"[A-Z][a-z]+([A-Z][a-z]+)+", word)}
    assert len(named) > 20
    assert named - defined_errors() == set()


@pytest.mark.parametrize("command", sorted({quoted for quoted in QUOTED if quoted.startswith("floe ")}))
def test_every_command_in_the_runbook_exists(command: str) -> None:
    _add_groups()
    found: Any = get_command(app)
    for word in command.split()[1:]:
        if not hasattr(found, "commands"):
            break
        assert word in found.commands, command
        found = found.commands[word]
    options = {name for parameter in found.params for name in parameter.opts}
    assert {word for word in command.split() if word.startswith("--")} <= options
