"""What holds for the whole project: documented, tested on its grain, layered, guarded by contracts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from dbt_stages import DbtProject, Stage

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


def test_every_source_table_has_one_staging_model(
    manifest: dict[str, Any], models: list[dict[str, Any]]
) -> None:
    read = [
        parent for node in models if node["schema"] == "staging" for parent in node["depends_on"]["nodes"]
    ]
    assert sorted(read) == sorted(manifest["sources"])
    assert len(read) == 16


def test_no_model_names_a_relation_itself(models: list[dict[str, Any]]) -> None:
    hard_coded = re.compile(r"(?<!distinct )\b(from|join)\s+[a-z_]+\.[a-z_]+", re.IGNORECASE)
    assert [node["name"] for node in models if hard_coded.search(node["raw_code"])] == []


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
