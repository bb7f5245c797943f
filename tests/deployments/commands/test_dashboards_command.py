from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from dashboard_marts import create_marts, fill_marts
from typer.testing import CliRunner

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


def test_preview_draws_the_pages_and_prints_where_they_are(
    marts: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    result = CliRunner().invoke(app, ["preview", "--folder", str(tmp_path / "preview")])
    assert result.exit_code == 0, result.output
    index = Path(result.output.splitlines()[-1])
    assert index == tmp_path / "preview" / "index.html"
    assert "Executive overview" in index.read_text(encoding="utf-8")
