"""Clients that others wrote, on the fake: what they accept it may say, what they send it must take.

Metabase's own command line checks the shape of every answer, and bodies of queries by its own schemas;
dbt-metabase is a second consumer of tables, cards and dashboards. Neither is a part of Floe.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from blocks.metabase_content import Translator
from blocks.metabase_fields import MartFields
from blocks.settings import ROOT
from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import (
    DATABASE,
    EVERY_MART,
    KEY,
    SAMPLE,
    WAREHOUSE,
    actions,
    client_of,
    number_of,
    provisioner,
    ready,
)

CLI = ROOT / "tests" / "metabase_cli" / "node_modules" / ".bin" / "mb"
DBT_METABASE = ROOT / ".venv-dbt-metabase" / "bin" / "dbt-metabase"
pytestmark = pytest.mark.thorough
with_cli = pytest.mark.skipif(
    not CLI.exists() or shutil.which("node") is None,
    reason="Metabase's command line is not installed: make tests/metabase_cli/installed (needs npm)",
)
with_dbt_metabase = pytest.mark.skipif(
    not DBT_METABASE.exists(), reason="dbt-metabase is not installed: make .venv-dbt-metabase/installed"
)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE) as server:
        ready(server)
        provisioner(server).apply()
        yield server


class Keys:
    """Numbers that no query shows."""

    def number_of(self, key: str) -> int:
        return 1

    def key_of_card(self, number: int) -> str:
        return ""

    def key_of_collection(self, number: int | None) -> str:
        return ""


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder), "MB_CLI_DISABLE_KEYRING": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def mb(fake: FakeMetabase, folder: Path, *command: str) -> Any:
    """Run Metabase's command line and return what it says; it fails on an answer of another shape."""
    done = run(CLI, *command, "--url", fake.url, "--api-key", KEY, "--json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@with_cli
def test_the_official_client_reads_what_was_provisioned(fake: FakeMetabase, tmp_path: Path) -> None:
    board = number_of(fake.state.dashboards, "Executive overview")
    card = number_of(fake.state.cards, "Gross sales by month and channel")
    collection = number_of(fake.state.collections, "Leadership")
    database = str(next(iter(fake.state.databases)))
    assert len(mb(fake, tmp_path, "card", "list")["data"]) == 34
    boards = mb(fake, tmp_path, "dashboard", "list")["data"]
    assert [each["name"] for each in boards] == [each.title for each in SAMPLE]
    whole = mb(fake, tmp_path, "dashboard", "get", str(board), "--full", "--max-bytes", "1000000")
    assert whole["collection_id"] == collection
    assert {each["slug"] for each in whole["parameters"]} == {"period", "channel", "category"}
    assert mb(fake, tmp_path, "card", "get", str(card))["display"] == "bar"
    assert mb(fake, tmp_path, "card", "query", str(card))["status"] == "completed"
    assert mb(fake, tmp_path, "db", "get", database)["name"] == DATABASE
    assert mb(fake, tmp_path, "db", "sync-schema", database)["status"] == "ok"
    items = mb(fake, tmp_path, "collection", "items", str(collection))
    assert items["total"] == len(SAMPLE[0].questions) + 1


@with_cli
def test_the_official_client_finds_each_kind_of_query_that_is_sent_valid(
    fake: FakeMetabase, tmp_path: Path
) -> None:
    database = next(iter(fake.state.databases))
    translator = Translator(1, MartFields.read(client_of(fake), database, "marts"), Keys())
    # Queries differ by their tags, as far as a schema can tell; each run of the client takes half a second.
    kinds = {
        json.dumps([(name, tag["type"]) for name, tag in card.content["template_tags"].items()]): card
        for card in provisioner(fake).managed
        if card.kind == "card"
    }
    assert len(kinds) > 3
    for number, card in enumerate(kinds.values()):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(translator.card_body(card.content)["dataset_query"]))
        said = run(CLI, "query", "--dry-run", "--file", file, "--json", folder=tmp_path)
        assert json.loads(said.stdout) == {"ok": True, "errors": []}, card.key


@with_cli
def test_what_the_official_client_makes_is_taken_and_left_alone(tmp_path: Path) -> None:
    with running_metabase(WAREHOUSE) as own:
        ready(own)
        provisioner(own, SAMPLE[:1]).apply()
        query = next(iter(own.state.cards.values()))["dataset_query"]
        collection = mb(own, tmp_path, "collection", "create", "--body", json.dumps({"name": "Leadership"}))
        body = {
            "name": "Orders, last full month",
            "display": "table",
            "visualization_settings": {},
            "dataset_query": query,
            "collection_id": collection["id"],
        }
        card = mb(own, tmp_path, "card", "create", "--body", json.dumps(body))
        board = mb(own, tmp_path, "dashboard", "create", "--body", json.dumps({"name": "Executive overview"}))
        assert actions(provisioner(own, SAMPLE[:1]).plan()) == {}
        provisioner(own, []).apply()
        assert not own.state.cards[card["id"]]["archived"]
        assert not own.state.dashboards[board["id"]]["archived"]


def manifest() -> dict[str, Any]:
    """Return what dbt-metabase reads of dbt's manifest, from the marts' contracts."""
    nodes = {
        f"model.floe.{mart.name}": {
            "resource_type": "model",
            "unique_id": f"model.floe.{mart.name}",
            "name": mart.name,
            "alias": mart.name,
            "database": "marts",
            "schema": "marts",
            "description": mart.description,
            "config": {"materialized": "table"},
            "columns": {
                name: {"name": name, "description": text, "meta": {}} for name, text in mart.columns.items()
            },
        }
        for mart in EVERY_MART
    }
    return {"nodes": nodes, "sources": {}, "child_map": {name: [] for name in nodes}}


@with_dbt_metabase
def test_dbt_metabase_finds_nothing_left_to_describe(tmp_path: Path) -> None:
    with running_metabase(WAREHOUSE) as own:
        ready(own)
        provisioner(own, SAMPLE[:1], marts=EVERY_MART).apply()
        own.calls.clear()
        said = dbt_metabase(own, tmp_path, "models", "--sync-timeout", "30")
        assert said.returncode == 0, said.stderr
        assert [call for call in own.writes() if call.startswith(("PUT /field", "PUT /table"))] == []


@with_dbt_metabase
def test_dbt_metabase_describes_columns_that_floe_then_finds_described(tmp_path: Path) -> None:
    with running_metabase(WAREHOUSE) as own:
        ready(own)
        provisioner(own, SAMPLE[:1]).apply()
        said = dbt_metabase(own, tmp_path, "models", "--sync-timeout", "30")
        assert said.returncode == 0, said.stderr
        assert any(call.startswith("PUT /field") for call in own.writes())
        assert actions(provisioner(own, SAMPLE[:1], marts=EVERY_MART).plan()) == {}


@with_dbt_metabase
def test_dbt_metabase_sees_the_marts_that_the_dashboards_read(fake: FakeMetabase, tmp_path: Path) -> None:
    said = dbt_metabase(fake, tmp_path, "exposures", "--output-path", str(tmp_path))
    assert said.returncode == 0, said.stderr
    found = yaml.safe_load((tmp_path / "exposures.yml").read_text())["exposures"]
    board = next(each for each in found if each["label"] == "Executive overview")
    own = yaml.safe_load((ROOT / "dbt" / "models" / "exposures.yml").read_text())["exposures"]
    ours = next(each for each in own if each["name"] == "executive_overview")
    assert set(board["depends_on"]) == set(ours["depends_on"])


def dbt_metabase(fake: FakeMetabase, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    file = folder / "manifest.json"
    file.write_text(json.dumps(manifest()))
    first, *more = command
    where = ["--manifest-path", str(file), "--metabase-url", fake.url, "--metabase-api-key", KEY]
    if first == "models":
        where += ["--metabase-database", DATABASE]
    return run(DBT_METABASE, first, *where, *more, folder=folder)
