"""`floe backfill`: what it refuses before anything is started."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from deployments.commands.backfill import app


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "name a --source or a --dataset"),
        (["--stream", "customer"], "--stream needs exactly one --source"),
        (["--source", "crm", "--source", "erp", "--stream", "customer"], "exactly one --source"),
        (["--source", "crm", "--prefix", "landing/"], "--prefix needs exactly one --dataset"),
        (["--dataset", "inventory", "--since", "yesterday"], "does not match the format"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments: list[str], problem: str) -> None:
    refused = CliRunner(env={"COLUMNS": "250"}).invoke(app, arguments)
    assert (refused.exit_code, problem in refused.output) == (2, True), refused.output
