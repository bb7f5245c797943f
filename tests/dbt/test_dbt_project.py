"""What holds for the whole project: documented, tested on its grain, layered, guarded by contracts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt_stages import DbtProject, DbtServer, Stage
from evaluator_rules import RULES, Project

from blocks.dashboard_checks import marts_read
from blocks.dashboard_definitions import Owner
from blocks.dashboard_exposures import exposures_file, exposures_text
from blocks.dashboard_files import DASHBOARDS, load_dashboards

EXCEPTIONS = yaml.safe_load(Path(__file__).with_name("evaluator_exceptions.yml").read_text())
MODELS = {"staging": "stg_", "intermediate": "int_", "build": ("dim_", "fct_", "mart_")}


@pytest.fixture(scope="module")
def manifest(project: DbtProject, first: Stage) -> dict[str, Any]:
    return project.manifest()


@pytest.fixture(scope="module")
def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def test_every_model_stands_in_the_schema_of_its_layer(models: list[dict[str, Any]]) -> None:
    assert {node["schema"] for node in models} == set(MODELS)
    assert [node["name"] for node in models if not node["name"].startswith(MODELS[node["schema"]])] == []


def test_every_column_in_the_warehouse_is_described_and_no_other(
    first: Stage, manifest: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    for node in [*models, *manifest["sources"].values()]:
        there = first.query(f"select column_name from (describe {node['relation_name']})")
        described = {name for name, column in node["columns"].items() if column["description"]}
        assert described == {name for (name,) in there}, node["name"]


def test_every_description_ends_with_the_grain(manifest: dict[str, Any]) -> None:
    described = [
        *(node for node in manifest["nodes"].values() if node["resource_type"] in ("model", "snapshot")),
        *manifest["sources"].values(),
    ]
    pattern = re.compile(r"\. One row per [^.]+\.$")
    assert [node["name"] for node in described if not pattern.search(node["description"])] == []


def test_every_model_is_tested_on_its_grain(manifest: dict[str, Any], models: list[dict[str, Any]]) -> None:
    tested = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node.get("test_metadata", {}).get("name") == "unique_grain"
    }
    assert [node["name"] for node in models if node["unique_id"] not in tested] == []


def test_every_fact_that_is_not_made_of_facts_is_tested_on_the_dimensions_it_names(
    manifest: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    kinds: dict[str, dict[str, list[str]]] = {"unique_grain": {}, "references": {}}
    for test in manifest["nodes"].values():
        arguments = test.get("test_metadata", {}).get("kwargs", {})
        match test.get("test_metadata", {}).get("name"):
            case "unique_grain":
                kinds["unique_grain"][test["attached_node"]] = arguments["columns"]
            case "references":
                columns = [key["column"] for key in arguments["foreign_keys"]]
                kinds["references"].setdefault(test["attached_node"], []).extend(columns)
    dimensions = [node["unique_id"] for node in models if node["name"].startswith("dim_")]
    grains = [kinds["unique_grain"][each] for each in dimensions]
    keys = {columns[0] for columns in grains if len(columns) == 1 and columns[0].endswith("_sk")}
    facts = {node["unique_id"]: node for node in models if node["name"].startswith("fct_")}
    named = {
        node["name"]: keys & set(node["columns"]) - set(kinds["references"].get(each, []))
        for each, node in facts.items()
        if not facts.keys() & set(node["depends_on"]["nodes"])
    }
    assert {"item_sk", "warehouse_sk", "customer_sk", "promotion_sk"} <= keys
    assert named.keys() >= {"fct_sales", "fct_inventory_weekly"}
    assert {name: left for name, left in named.items() if left} == {}


def test_marts_are_public_owned_and_under_contract(models: list[dict[str, Any]]) -> None:
    for node in models:
        if node["schema"] == "build":
            config = node["config"]
            assert (config["access"], config["group"], config["contract"]["enforced"]) == (
                "public",
                "analytics",
                True,
            ), node["name"]


def test_snapshots_track_every_column_and_deletes(
    manifest: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    columns = {node["unique_id"]: set(node["columns"]) for node in models}
    snapshots = [node for node in manifest["nodes"].values() if node["resource_type"] == "snapshot"]
    assert {node["name"] for node in snapshots} == {"snp_customers", "snp_promotions"}
    for node in snapshots:
        config, [parent] = node["config"], set(node["depends_on"]["nodes"])
        # The strategy `timestamp` has no list: it writes every column when the change time moves.
        tracked = set(config["check_cols"] or columns[parent]) | {config["unique_key"], config["updated_at"]}
        assert tracked == columns[parent], node["name"]
        assert config.get("hard_deletes") == "new_record", node["name"]


def test_only_staging_reads_sources_and_staging_reads_nothing_else(models: list[dict[str, Any]]) -> None:
    for node in models:
        kinds = {parent.split(".")[0] for parent in node["depends_on"]["nodes"]}
        assert kinds == ({"source"} if node["schema"] == "staging" else kinds - {"source"}), node["name"]


def test_what_asks_for_the_time_is_run_in_every_build(manifest: dict[str, Any]) -> None:
    clock = re.compile(r"current_timestamp|current_date|\bnow\(\)|sysdate|getdate|today\(\)", re.IGNORECASE)
    asking = {
        node["name"]
        for node in (*manifest["nodes"].values(), *manifest["macros"].values())
        if node["package_name"] == "floe"
        and clock.search(node.get("raw_code") or node.get("macro_sql") or "")
    }
    tagged = {node["name"] for node in manifest["nodes"].values() if "clock" in node["tags"]}
    assert asking == tagged == {"loads_come_as_usual"}


def test_every_dashboard_is_an_exposure_of_public_marts(
    manifest: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    marts = {node["unique_id"] for node in models if node["config"]["access"] == "public"}
    exposures = {each["name"]: each for each in manifest["exposures"].values()}
    assert sorted(exposures) == sorted(each.key for each in load_dashboards(DASHBOARDS))
    for exposure in exposures.values():
        assert set(exposure["owner"]) == {"name", "email"}, exposure["name"]
        assert exposure["depends_on"]["nodes"], exposure["name"]
        assert set(exposure["depends_on"]["nodes"]) <= marts, exposure["name"]


@pytest.mark.thorough
def test_dbt_shows_the_words_of_a_dashboard_as_they_are(
    dbt: DbtServer, project: DbtProject, tmp_path: Path
) -> None:
    odd = {"title": "2024", "description": "Not {{ jinja }}, {% nor %} {# this #}: 'a', \"b\"\nfür alle"}
    owner = Owner(name="The {{ others }}", email="others@example.com")
    dashboard = load_dashboards(DASHBOARDS)[0].model_copy(update={**odd, "key": "odd", "owner": owner})
    marts = tmp_path / "project" / "models" / "marts"
    marts.mkdir(parents=True)
    for mart in {mart for _, read in marts_read(dashboard) for mart in read}:
        (marts / f"{mart}.sql").write_text("select 1 as a")
    (tmp_path / "project" / "dbt_project.yml").write_text(
        "{name: odd, profile: floe, flags: {send_anonymous_usage_stats: false}}"
    )
    exposures_file(tmp_path / "project").write_text(exposures_text([dashboard]), encoding="utf-8")
    other = DbtProject(dbt, project.lake, tmp_path)
    outcome = other.run("parse", "--warn-error", DBT_PROJECT_DIR=str(tmp_path / "project"))
    assert outcome.returncode == 0, outcome.output
    shown = other.manifest()["exposures"]["exposure.odd.odd"]
    assert (shown["label"], shown["description"]) == (odd["title"], odd["description"])
    assert shown["owner"] == owner.model_dump()


def test_every_source_table_has_one_staging_model(
    manifest: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    read = [
        parent for node in models if node["schema"] == "staging" for parent in node["depends_on"]["nodes"]
    ]
    assert sorted(read) == sorted(manifest["sources"])
    assert len(read) == 16


@pytest.mark.parametrize("rule", RULES)
def test_the_rules_of_dbt_project_evaluator_hold_but_for_what_is_listed(
    manifest: dict[str, Any], rule: str
) -> None:
    assert RULES[rule](Project(manifest)) == EXCEPTIONS.get(rule, {}).keys()


def test_exceptions_are_of_rules_that_exist_and_have_a_reason() -> None:
    assert EXCEPTIONS.keys() <= RULES.keys()
    assert all(reason for listed in EXCEPTIONS.values() for reason in listed.values())


def test_each_rule_finds_what_breaks_it() -> None:
    def node(kind: str, name: str, folder: str = "", *parents: str, **more: Any) -> dict[str, Any]:
        file = f"models/{folder}/{name}.sql"
        own = {
            "resource_type": kind,
            "name": name,
            "original_file_path": file,
            "description": "",
            "columns": {},
        }
        own |= {"config": {"materialized": "view", "contract": {"enforced": False}}, "raw_code": ""}
        return {**own, "depends_on": {"nodes": list(parents)}, **more}

    table = {"relation_name": "raw.t", "source_name": "s", "source_description": "", "freshness": None}
    stg, other, far = "model.x.stg_s__t", "model.x.stg_s__other", "model.x.int_far"
    chain = [f"model.x.int_{number}" for number in range(6)]
    nodes = {
        stg: node("model", "stg_s__t", "staging/s", "source.x.s.t", "source.x.s.same"),
        other: node("model", "stg_s__other", "staging/wrong", stg, far, "source.x.s.t"),
        far: node("model", "int_far", "intermediate", "source.x.s.t"),
        "model.x.odd": node("model", "odd", "marts", other, far, stg, *chain, access="public"),
        "model.x.rooted": node("model", "int_rooted", "marts", raw_code="select * from raw.t"),
        **{
            key: node("model", key.split(".")[-1], "intermediate", before)
            for before, key in zip([other, *chain], chain, strict=False)
        },
        **{f"model.x.int_leaf_{n}": node("model", f"int_leaf_{n}", "intermediate", far) for n in range(3)},
        "test.x.t": node("test", "t", "elsewhere", attached_node=far, test_metadata={"name": "rules"}),
    }
    manifest = {
        "nodes": nodes,
        "sources": {f"source.x.s.{name}": node("source", name, **table) for name in ("t", "same", "unused")},
        "exposures": {"exposure.x.e": node("exposure", "e", "", stg)},
    }
    everything = {key: each for kind in manifest.values() for key, each in kind.items()}
    manifest["child_map"] = {
        parent: [key for key, each in everything.items() if parent in each["depends_on"]["nodes"]]
        for parent in everything
    }
    assert [rule for rule, broken in RULES.items() if not broken(Project(manifest))] == []


def test_what_changes_has_freshness_thresholds_and_what_is_fixed_has_none(manifest: dict[str, Any]) -> None:
    watched = {
        source["name"]
        for source in manifest["sources"].values()
        if (source["freshness"] or {}).get("warn_after", {}).get("count")
    }
    assert watched == {
        "customer",
        "customer_address",
        "item",
        "promotion",
        "catalog_sales",
        "web_sales",
        "catalog_returns",
        "web_returns",
        "inventory",
    }
    assert all(source["loaded_at_field"] for source in manifest["sources"].values())
