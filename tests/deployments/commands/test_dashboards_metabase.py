"""`floe dashboards plan` and `apply` against a fake Metabase."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dashboard_marts import create_marts
from typer.testing import CliRunner, Result

from blocks.dashboard_pages import CardFailed
from blocks.errors import ConfigurationError
from blocks.metabase_errors import MetabaseChangedByHand
from blocks.settings import load_settings
from deployments.commands.dashboards import app
from lambda_csv_loader.ducklake import DuckLakeSettings
from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import WAREHOUSE

PASSWORD, DATABASE_PASSWORD = "correct horse battery", "reader-password-never-shown"


@pytest.fixture
def fake() -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE) as server:
        yield server


@pytest.fixture
def settings(
    fake: FakeMetabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Settings that name a Metabase, and a warehouse that is not there."""
    metabase = {
        "url": fake.url,
        "admin_email": "admin@example.com",
        "admin_password": PASSWORD,
        "marts": {
            "type": "postgres",
            "host": "127.0.0.1",
            "database": "marts",
            "user": "reader",
            "password": DATABASE_PASSWORD,
        },
    }
    snowflake = dict.fromkeys(("account", "user", "private_key", "role", "warehouse", "database"), "x")
    variables = {
        "FLOE_HOME": str(tmp_path),
        "FLOE_AIRBYTE": '{"server_url": "http://127.0.0.1:9", "client_id": "x", "client_secret": "x"}',
        "FLOE_OBJECT_STORE": '{"bucket": "b", "queue_url": "q", "dead_letter_queue_url": "d"}',
        "FLOE_WAREHOUSE": json.dumps({"type": "snowflake", **snowflake}),
        "FLOE_DASHBOARDS__METABASE": json.dumps(metabase),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    yield monkeypatch
    load_settings.cache_clear()


@pytest.fixture
def marts(
    settings: pytest.MonkeyPatch, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> duckdb.DuckDBPyConnection:
    """Empty marts in a lake that the settings name."""
    create_marts(lake_connection)
    settings.setenv("FLOE_WAREHOUSE", lake.model_dump_json())
    return lake_connection


def floe(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_a_fresh_metabase_has_the_dashboards_after_one_command_and_a_second_says_so(
    marts: duckdb.DuckDBPyConnection, fake: FakeMetabase, tmp_path: Path
) -> None:
    planned = floe("plan")
    assert planned.exit_code == 0, planned.output
    first, second, *_ = planned.output.splitlines()
    assert first == f"+ instance {fake.url}"
    assert second.startswith(f"+ key {tmp_path}/metabase-api-key (what Metabase has already can be read only")
    assert "+ dashboard Executive overview" in planned.output
    assert fake.writes() == []
    applied = floe("apply")
    assert applied.exit_code == 0, applied.output
    assert "+ card Gross sales, last full month" in applied.output
    assert applied.output.splitlines()[-1] == "Next: floe blocks register, so that `publish` has the key"
    assert len(fake.state.dashboards) == 3
    again = floe("plan")
    assert again.output == "Everything is as declared\n"
    (key,) = fake.state.keys
    said = planned.output + applied.output + again.output
    assert not any(secret in said for secret in (key, PASSWORD, DATABASE_PASSWORD))
    target = load_settings().dashboards.metabase.target(tmp_path)  # type: ignore[union-attr]
    assert target is not None
    assert target.api_key.get_secret_value() == key


@pytest.mark.thorough
def test_a_change_by_hand_is_shown_and_stops_unless_it_is_said_what_becomes_of_it(
    marts: duckdb.DuckDBPyConnection, fake: FakeMetabase
) -> None:
    floe("apply")
    board = next(iter(fake.state.dashboards.values()))
    board["name"] = "Ours"
    planned = floe("plan")
    assert "~ dashboard Executive overview (changed in Metabase by hand; owner Finance" in planned.output
    assert "    name: Ours → Executive overview" in planned.output
    assert planned.output.endswith("1 to change, 1 changed in Metabase by hand\n")
    assert isinstance(floe("apply").exception, MetabaseChangedByHand)
    assert floe("apply", "--drift", "keep").output.endswith("1 changed in Metabase by hand\n")
    assert board["name"] == "Ours"
    floe("apply", "--drift", "overwrite")
    assert board["name"] == "Executive overview"
    assert floe("apply").output == "Everything is as declared\n"


@pytest.mark.thorough
def test_a_card_that_does_not_fit_the_marts_stops_it_before_metabase_is_asked(
    marts: duckdb.DuckDBPyConnection, fake: FakeMetabase
) -> None:
    marts.execute("alter table marts.dim_items drop column category")
    result = floe("apply")
    assert isinstance(result.exception, CardFailed)
    assert "owner Finance Analytics" in str(result.exception)
    assert fake.calls == []


def test_without_a_metabase_it_says_what_to_set(settings: pytest.MonkeyPatch) -> None:
    settings.delenv("FLOE_DASHBOARDS__METABASE")
    for command in ("plan", "apply"):
        result: Any = floe(command).exception
        assert isinstance(result, ConfigurationError)
        assert "FLOE_DASHBOARDS__METABASE__URL" in str(result)
