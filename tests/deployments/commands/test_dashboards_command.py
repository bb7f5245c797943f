from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from dashboard_marts import create_marts, fill_marts
from typer.testing import CliRunner

from blocks.dashboard_exposures import exposures_file
from blocks.dbt import PROJECT
from blocks.errors import ConfigurationError
from blocks.settings import load_settings
from deployments.commands.dashboards import app
from lambda_csv_loader.ducklake import DuckLakeSettings


@pytest.fixture
def marts(
    lake: DuckLakeSettings,
    lake_connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake with marts, and settings that name it."""
    create_marts(lake_connection)
    fill_marts(lake_connection)
    settings = {
        "FLOE_HOME": tmp_path,
        "FLOE_AIRBYTE": '{"server_url": "http://127.0.0.1:9", "client_id": "x", "client_secret": "x"}',
        "FLOE_OBJECT_STORE": '{"bucket": "b", "queue_url": "q", "dead_letter_queue_url": "d"}',
        "FLOE_WAREHOUSE": lake.model_dump_json(),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    load_settings.cache_clear()
    yield lake_connection
    load_settings.cache_clear()


def test_check_finds_nothing_on_the_marts_as_they_should_be(marts: duckdb.DuckDBPyConnection) -> None:
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 0, result.output
    assert result.output == "3 dashboards, 34 cards, 0 problem(s)\n"


def test_check_fails_and_names_the_card_and_its_owner(marts: duckdb.DuckDBPyConnection) -> None:
    marts.execute("alter table marts.dim_customers rename column is_preferred_customer to is_preferred")
    result = CliRunner().invoke(app, ["check"])
    assert result.exit_code == 1
    start = "customers / preferred_share (owner Customer Operations <customer-operations@example.com>): "
    assert start in result.output
    assert result.output.endswith("3 dashboards, 34 cards, 1 problem(s)\n")


@pytest.fixture
def dbt_project(tmp_path: Path) -> Path:
    """A copy of the dbt project's models."""
    shutil.copytree(PROJECT / "models", tmp_path / "dbt" / "models")
    return tmp_path / "dbt"


def test_check_fails_on_a_mart_that_dbt_renamed_before_any_build(
    marts: duckdb.DuckDBPyConnection, dbt_project: Path
) -> None:
    sales = dbt_project / "models" / "marts" / "sales"
    (sales / "fct_returns.sql").rename(sales / "fct_refunds.sql")
    result = CliRunner().invoke(app, ["check", "--project", str(dbt_project)])
    assert result.exit_code == 1
    *problems, last = result.output.splitlines()
    finance = "(owner Finance Analytics <finance-analytics@example.com>): dbt has no mart fct_returns"
    assert f"executive_overview / return_rate_by_month {finance}" in problems
    care = "(owner Customer Operations <customer-operations@example.com>): dbt has no mart fct_returns"
    assert f"customers / lifetime_value {care}" in problems
    assert last == f"3 dashboards, 34 cards, {len(problems)} problem(s)"


@pytest.mark.thorough
def test_a_card_whose_mart_is_gone_in_dbt_and_in_the_warehouse_is_one_problem(
    marts: duckdb.DuckDBPyConnection, dbt_project: Path
) -> None:
    (dbt_project / "models" / "marts" / "sales" / "fct_returns.sql").unlink()
    before = CliRunner().invoke(app, ["check", "--project", str(dbt_project)])
    marts.execute("drop table marts.fct_returns")
    assert CliRunner().invoke(app, ["check", "--project", str(dbt_project)]).output == before.output


def test_check_fails_while_the_exposures_are_not_those_of_the_dashboards(
    marts: duckdb.DuckDBPyConnection, dbt_project: Path
) -> None:
    file = exposures_file(dbt_project)
    file.write_text(file.read_text().replace("ref('fct_returns')", "ref('fct_refunds')", 1))
    result = CliRunner().invoke(app, ["check", "--project", str(dbt_project)])
    assert isinstance(result.exception, ConfigurationError)
    assert f"{file} is not what the dashboards say: line 14 is" in result.exception.what
    assert result.exception.next_command == "floe dashboards exposures, and commit the file"
    assert CliRunner().invoke(app, ["exposures", "--project", str(dbt_project)]).exit_code == 0
    assert CliRunner().invoke(app, ["check", "--project", str(dbt_project)]).exit_code == 0


@pytest.mark.thorough
def test_exposures_on_a_mart_that_dbt_does_not_have_are_not_written(dbt_project: Path) -> None:
    (dbt_project / "models" / "marts" / "core" / "dim_warehouses.sql").unlink()
    exposures_file(dbt_project).write_text("as it was")
    result = CliRunner().invoke(app, ["exposures", "--project", str(dbt_project)])
    assert result.exit_code == 1
    assert "inventory / filter warehouse (owner Merchandising <merchandising@example.com>)" in result.output
    assert exposures_file(dbt_project).read_text() == "as it was"


def test_preview_draws_the_pages_and_prints_where_they_are(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["preview", "--folder", str(tmp_path / "preview")])
    assert result.exit_code == 0, result.output
    index = Path(result.output.splitlines()[-1])
    assert index == tmp_path / "preview" / "index.html"
    assert "Executive overview" in index.read_text(encoding="utf-8")


@pytest.mark.thorough
@pytest.mark.parametrize(("form", "start"), [("html", b"<!doctype html>"), ("pdf", b"%PDF")])
def test_report_writes_one_file(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path, form: str, start: bytes
) -> None:
    file = tmp_path / f"for the board.{form}"
    options = ["--format", form, "--output", str(file)]
    result = CliRunner().invoke(app, ["report", "executive_overview", *options])
    assert result.exit_code == 0, result.output
    assert file.read_bytes().strip().startswith(start)
    assert result.output == f"Executive overview, {file.stat().st_size:,} bytes: {file}\n"
    assert [each.name for each in tmp_path.iterdir() if "board" in each.name] == [file.name]


def test_report_of_a_dashboard_that_is_not_there_names_those_that_are() -> None:
    result = CliRunner().invoke(app, ["report", "sales"])
    assert isinstance(result.exception, ConfigurationError)
    assert result.exception.next_command == "name one of: executive_overview, inventory, customers"


@pytest.mark.thorough
def test_export_writes_what_apply_would_put_into_metabase(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["export", str(tmp_path / "metabase")])
    assert result.exit_code == 0, result.output
    assert result.output == f"39 files in {tmp_path / 'metabase'}\n"
    card = tmp_path / "metabase" / "collections" / "main" / "leadership" / "executive_overview"
    assert "from marts.fct_sales" in (card / "gross_sales_by_month.yaml").read_text(encoding="utf-8")
