"""`floe marts`: a build beside what readers see, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from blocks.ducklake_publisher import DuckLakePublisher
from blocks.errors import ConfigurationError
from blocks.mart_differences import MartMissing
from blocks.settings import load_settings
from deployments.commands.marts import app
from lambda_csv_loader.ducklake import DuckLakeSettings

MART = "dim_warehouses"


@pytest.fixture
def published(
    lake: DuckLakeSettings,
    lake_connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake with one published mart, and settings that name it."""
    lake_connection.execute(
        "create schema build; create schema ada_build;"
        f"create table build.{MART} as"
        " select range as warehouse_sk, 'w' || range as warehouse_name from range(3)"
    )
    DuckLakePublisher(lake_connection).publish("run-1", [MART])
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


def test_build_refuses_to_build_where_production_does(published: duckdb.DuckDBPyConnection) -> None:
    result = CliRunner().invoke(app, ["build"])
    assert isinstance(result.exception, ConfigurationError)
    assert "schemas of your own" in str(result.exception)


def test_diff_tells_what_readers_would_see_change(
    published: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    same = CliRunner().invoke(app, ["diff", MART])
    assert same.output.splitlines()[-1].split() == [MART, "3", "3", "0", "0", "0", "same"]
    published.execute(
        f"create table ada_build.{MART} as select warehouse_sk, "
        f"case when warehouse_sk = 1 then 'moved' else warehouse_name end as warehouse_name from build.{MART}"
    )
    folder = tmp_path / "changes"
    result = CliRunner().invoke(app, ["diff", MART, "--prefix", "ada", "--output", str(folder)])
    assert result.exit_code == 0, result.output
    words = result.output.splitlines()[-1].split()
    assert words == [MART, "3", "3", "0", "0", "1", "warehouse_name:", "1"]
    assert (folder / f"{MART}.csv").read_text() == (
        "difference,warehouse_sk,warehouse_name (published),warehouse_name (built)\nchanged,1,w1,moved\n"
    )


def test_diff_of_all_marts_names_those_that_are_not_there(published: duckdb.DuckDBPyConnection) -> None:
    result = CliRunner().invoke(app, ["diff"])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line.strip() for line in result.output.splitlines()}
    assert lines[MART].endswith("same")
    assert "There is no build.fct_sales in the warehouse" in lines["fct_sales"]
    assert isinstance(CliRunner().invoke(app, ["diff", "fct_sales"]).exception, MartMissing)


def test_diff_refuses_a_mart_that_dbt_does_not_have(published: duckdb.DuckDBPyConnection) -> None:
    result = CliRunner().invoke(app, ["diff", "fct_salse"])
    assert "dbt has no mart fct_salse; it has dim_customers, " in str(result.exception)


def test_rollback_shows_readers_the_set_before(published: duckdb.DuckDBPyConnection) -> None:
    published.execute(f"delete from build.{MART} where warehouse_sk = 2")
    DuckLakePublisher(published).publish("run-2", [MART])
    result = CliRunner().invoke(app, ["rollback"])
    assert result.exit_code == 0, result.output
    assert "History is unchanged; the next floe run publishes the newest state." in " ".join(
        result.output.split()
    )
    assert published.execute(f"select count(*) from marts.{MART}").fetchall() == [(3,)]
