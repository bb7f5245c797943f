from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_queries import tags_in
from blocks.dashboard_representations import MartsDatabase, representations, write_representations
from blocks.errors import ConfigurationError
from blocks.metabase_settings import MartNames
from blocks.settings import ROOT

SHIPPED = load_dashboards(DASHBOARDS)
SNOWFLAKE = MartsDatabase("Marts", MartNames("MARTS", upper=True))
POSTGRES = MartsDatabase("Marts", MartNames("marts", upper=False))
VALIDATOR = ROOT / "tests" / "metabase_cli" / "node_modules" / ".bin" / "representations"

validated = pytest.mark.skipif(
    not VALIDATOR.exists() or shutil.which("node") is None,
    reason="Metabase's validator is not installed: make tests/metabase_cli/installed (needs npm)",
)


def validator(folder: Path) -> tuple[int, str]:
    """Return the exit code of Metabase's own validator, and what it says."""
    command = [str(VALIDATOR), "validate-schema", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def documents() -> dict[Path, dict[str, Any]]:
    return representations(SHIPPED, SNOWFLAKE)


def of_model(documents: dict[Path, dict[str, Any]], model: str) -> list[dict[str, Any]]:
    return [each for each in documents.values() if each["serdes/meta"][-1]["model"] == model]


@pytest.mark.thorough
@validated
@pytest.mark.parametrize(
    "marts",
    [
        pytest.param(SNOWFLAKE, id="snowflake"),
        pytest.param(POSTGRES, id="postgres"),
    ],
)
def test_metabase_s_validator_finds_nothing(marts: MartsDatabase, tmp_path: Path) -> None:
    written = write_representations(SHIPPED, marts, tmp_path)
    code, said = validator(tmp_path)
    assert (code, said.split()) == (0, [str(len(written)), "passed,", "0", "failed"])


def wide(document: dict[str, Any]) -> None:
    document["dashcards"][0]["size_x"] = 25


def half_a_tab(document: dict[str, Any]) -> None:
    document["dashcards"][0]["dashboard_tab_id"].pop()


def no_target(document: dict[str, Any]) -> None:
    del next(each for each in document["dashcards"] if each["card_id"])["parameter_mappings"][0]["target"]


def unknown_section(document: dict[str, Any]) -> None:
    document["parameters"][0]["sectionId"] = "dates"


def short_id(document: dict[str, Any]) -> None:
    document["entity_id"] = document["entity_id"][:20]


def unknown_display(document: dict[str, Any]) -> None:
    document["display"] = "bars"


def column_without_table(document: dict[str, Any]) -> None:
    first = document["dataset_query"]["stages"][0]["template-tags"][0]
    del first["dimension"][2][0]


def no_owner(document: dict[str, Any]) -> None:
    document["creator_id"] = "Finance Analytics"


@pytest.mark.thorough
@validated
def test_metabase_s_validator_finds_what_is_wrong_with_bad_copies(tmp_path: Path) -> None:
    dashboard = Path("collections/main/leadership/executive_overview.yaml")
    card = Path("collections/main/leadership/executive_overview/gross_sales_by_month.yaml")
    faults: dict[Callable[[dict[str, Any]], None], tuple[Path, str]] = {
        wide: (dashboard, "/dashcards/0/size_x must be <= 24"),
        half_a_tab: (dashboard, "/dashcards/0/dashboard_tab_id must NOT have fewer than 2 items"),
        no_target: (dashboard, "must have required property 'target'"),
        unknown_section: (dashboard, "/parameters/0/sectionId must be equal to one of the allowed values"),
        short_id: (card, "/entity_id must match pattern"),
        unknown_display: (card, "/display must be equal to one of the allowed values"),
        column_without_table: (card, "template-tags/0/dimension/2 must NOT have fewer than 4 items"),
        no_owner: (card, '/creator_id must match format "email"'),
    }
    good = representations(SHIPPED, SNOWFLAKE)
    for fault, (path, _) in faults.items():
        copy = yaml.safe_load(yaml.safe_dump(good[path]))
        fault(copy)
        place = tmp_path / path.with_name(f"{fault.__name__}.yaml")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(yaml.safe_dump(copy), encoding="utf-8")
    code, said = validator(tmp_path)
    assert code == 1
    assert f"0 passed, {len(faults)} failed" in said
    for fault, (_, complaint) in faults.items():
        [part] = [each for each in said.split("FAIL ") if f"/{fault.__name__}.yaml" in each]
        assert complaint in part


def test_every_reference_leads_to_something(documents: dict[Path, dict[str, Any]]) -> None:
    cards = {each["entity_id"]: each for each in of_model(documents, "Card")}
    collections = {each["entity_id"] for each in of_model(documents, "Collection")}
    boards = of_model(documents, "Dashboard")
    assert len(cards) == sum(len(board.questions) for board in SHIPPED)
    assert {each["collection_id"] for each in [*cards.values(), *boards]} == collections
    shown = []
    for board in boards:
        parameters = {each["id"] for each in board["parameters"]}
        tabs = {each["entity_id"] for each in board["tabs"]}
        for dashcard in board["dashcards"]:
            assert dashcard["dashboard_tab_id"][0] == board["entity_id"]
            assert dashcard["dashboard_tab_id"][1] in tabs
            shown += [dashcard["card_id"]] if dashcard["card_id"] else []
            for mapping in dashcard["parameter_mappings"]:
                assert mapping["card_id"] == dashcard["card_id"]
                assert mapping["parameter_id"] in parameters
    assert sorted(shown) == sorted(cards)


def test_cards_stand_on_their_tabs_where_they_are_declared(documents: dict[Path, dict[str, Any]]) -> None:
    names = {each["entity_id"]: each["name"] for each in of_model(documents, "Card")}
    for board, document in zip(SHIPPED, by_title(of_model(documents, "Dashboard")), strict=True):
        tabs = {each["entity_id"]: each["name"] for each in document["tabs"]}
        found = {
            (tabs[each["dashboard_tab_id"][1]], names.get(each["card_id"]), each["row"], each["col"])
            for each in document["dashcards"]
        }
        assert found == {
            (tab.title, getattr(card, "title", None), card.position.row, card.position.col)
            for tab in board.tabs
            for card in tab.cards
        }


def by_title(boards: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return dashboards in the order of the shipped ones."""
    titles = [each.title for each in SHIPPED]
    return sorted(boards, key=lambda each: titles.index(each["name"]))


def test_no_two_objects_have_one_id(documents: dict[Path, dict[str, Any]]) -> None:
    ids = [each["entity_id"] for each in documents.values()]
    for board in of_model(documents, "Dashboard"):
        ids += [each["entity_id"] for each in [*board["tabs"], *board["dashcards"]]]
    assert len(ids) == len(set(ids))


def test_a_card_asks_as_the_warehouse_spells_its_marts(documents: dict[Path, dict[str, Any]]) -> None:
    for card in of_model(documents, "Card"):
        [stage] = card["dataset_query"]["stages"]
        tags = {each["name"]: each for each in stage["template-tags"]}
        assert set(tags) == set(tags_in(stage["native"]))
        assert "ref(" not in stage["native"]
        assert re.search(r"\bMARTS\.", stage["native"])
        for tag in tags.values():
            if tag["type"] == "dimension":
                kind, options, path = tag["dimension"]
                assert (kind, options, path[:2], len(path)) == ("field", {}, ["Marts", "MARTS"], 4)
                assert path[2:] == [each.upper() for each in path[2:]]
        names = re.findall(r'\["name","(\w+)"\]', str(card["visualization_settings"]))
        assert names == [each.upper() for each in names]


def test_an_export_again_is_the_same_to_the_byte_and_drops_what_is_gone(tmp_path: Path) -> None:
    write_representations(SHIPPED, SNOWFLAKE, tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.yaml")}
    write_representations(tuple(reversed(SHIPPED)), SNOWFLAKE, tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.yaml")} == before
    write_representations(SHIPPED[:1], SNOWFLAKE, tmp_path)
    left = {file.relative_to(tmp_path) for file in tmp_path.rglob("*.yaml")}
    assert left == set(representations(SHIPPED[:1], SNOWFLAKE))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "collections" / "main" / "mine.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"mine\.yaml was not written by an export"):
        write_representations(SHIPPED, SNOWFLAKE, tmp_path)
    assert list(tmp_path.rglob("*.yaml")) == [theirs]


@pytest.mark.thorough
def test_two_dashboards_may_have_cards_of_one_name() -> None:
    first: Dashboard = SHIPPED[0]
    other = first.model_copy(update={"key": "other", "title": "Other"})
    assert len(representations([first, other], SNOWFLAKE)) == 1 + 2 * (1 + len(first.questions))
