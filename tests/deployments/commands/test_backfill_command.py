"""`floe backfill`: what it refuses before anything is started."""

from __future__ import annotations

import re

import pytest
from prefect.exceptions import ParameterTypeError
from typer.testing import CliRunner

from deployments.commands.backfill import app
from flows.backfill import backfill


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "name a --source or a --dataset"),
        (["--stream", "customer"], "--stream needs exactly one --source"),
        (["--source", "crm", "--source", "erp", "--stream", "customer"], "exactly one --source"),
        (["--source", "crm", "--prefix", "landing/"], "--prefix needs exactly one --dataset"),
        (["--source", "crm", "--since", "2003-01-01"], "--since would do nothing without a --dataset"),
        (["--source", "crm", "--until", "2003-01-01"], "--until would do nothing without a --dataset"),
        (["--source", "crm", "--again", "refused"], "--again would do nothing without a --dataset"),
        (
            ["--dataset", "inventory", "--compare-days", "3"],
            "--compare-days would do nothing without",
        ),
        (["--dataset", "inventory", "--compare-only"], "--compare-only would do nothing without a --source"),
        (["--source", "crm", "--compare-days", "0"], "greater than or equal to 1"),
        (["--dataset", "inventory", "--since", "yesterday"], "does not match the format"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(arguments: list[str], problem: str) -> None:
    refused = CliRunner(env={"COLUMNS": "250"}).invoke(app, arguments)
    assert (refused.exit_code, problem in refused.output) == (2, True), refused.output


@pytest.mark.parametrize(
    ("sources", "files", "problem"),
    [
        ([{"source": "crm", "since": "2003-01-01"}], [], "sources.0.since"),
        ([{"source": "crm", "again": "refused"}], [], "sources.0.again"),
        ([{"source": "crm", "compare_days": 0}], [], "sources.0.compare_days"),
        ([], [{"dataset": "inventory", "compare_days": 3}], "files.0.compare_days"),
    ],
    ids=str,
)
def test_the_form_of_prefect_refuses_it_too(
    sources: list[dict[str, object]], files: list[dict[str, object]], problem: str
) -> None:
    with pytest.raises(ParameterTypeError, match=re.escape(problem)):
        backfill.validate_parameters({"sources": sources, "files": files})
