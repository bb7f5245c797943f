"""The rules of dbt_project_evaluator, over the manifest, under its own names.

The package itself would come from dbt's hub and build fifty models in the warehouse to say the same.
Source: https://dbt-labs.github.io/dbt-project-evaluator/latest/rules
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

# The thresholds that the package has as its defaults.
FANOUT, JOINS, CHAINED_VIEWS = 3, 7, 5
# What the package's variable `primary_key_test_macros` would be set to.
KEY_TEST = "unique_grain"
PREFIXES = {"staging": ("stg_",), "intermediate": ("int_",), "marts": ("fct_", "dim_")}
_HARD_CODED = re.compile(r"(?<!distinct )\b(?:from|join)\s+[\"`\[]?[a-z_]\w*[\"`\]]?\.", re.IGNORECASE)

Node = dict[str, Any]


class Project:
    """A dbt project's manifest with what the rules ask of it."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.sources: dict[str, Node] = manifest["sources"]
        self.exposures: dict[str, Node] = manifest["exposures"]
        self.nodes: dict[str, Node] = {**manifest["nodes"], **self.sources, **self.exposures}
        self._child_map: dict[str, list[str]] = manifest["child_map"]

    @cached_property
    def models(self) -> dict[str, Node]:
        return {key: node for key, node in self.nodes.items() if node["resource_type"] == "model"}

    @cached_property
    def tests(self) -> list[Node]:
        """The tests of a model or source that stand in a properties file."""
        tests = (node for node in self.nodes.values() if node["resource_type"] == "test")
        return [node for node in tests if node.get("attached_node")]

    def parents(self, key: str) -> set[str]:
        return set(self.nodes[key].get("depends_on", {}).get("nodes", [])) & self.nodes.keys()

    def children(self, key: str, *kinds: str) -> set[str]:
        found = {child for child in self._child_map[key] if not child.startswith(("test.", "unit_test."))}
        return {child for child in found if not kinds or child.split(".")[0] in kinds}

    def layer(self, key: str) -> str:
        """Return staging, intermediate or marts, by the folder of a model."""
        return PurePosixPath(self.nodes[key]["original_file_path"]).parts[1]

    def reads(self, key: str, *layers: str) -> bool:
        """Return whether a model reads a model of one of the layers."""
        return any(self.layer(parent) in layers for parent in self.parents(key) & self.models.keys())


def _models(rule: Callable[[Project, str], object]) -> Callable[[Project], set[str]]:
    """Return the names of the models for which a rule is broken."""
    return lambda project: _names(key for key in project.models if rule(project, key))


def _names(keys: Iterable[str]) -> set[str]:
    """Return names as people know them: a model's own, a source's with its table."""
    return {".".join(key.split(".")[2:]) for key in keys}


def _read_sources(project: Project, key: str) -> set[str]:
    return project.parents(key) & project.sources.keys()


def _duplicate_sources(project: Project) -> set[str]:
    tables = Counter(source["relation_name"] for source in project.sources.values())
    return _names(key for key, source in project.sources.items() if tables[source["relation_name"]] > 1)


def _model_fanout(project: Project, key: str) -> bool:
    leaves = [child for child in project.children(key, "model") if not project.children(child)]
    return len(leaves) >= FANOUT


def _rejoining(project: Project) -> set[str]:
    """Return models between a parent and its child that have no other child."""
    found = set()
    for between in project.models:
        children = project.children(between)
        if len(children) == 1:
            [child] = children
            if child in project.models and project.parents(between) & project.parents(child):
                found.add(between)
    return _names(found)


def _without_key_test(project: Project, key: str) -> bool:
    tested = {node["attached_node"] for node in project.tests if node["test_metadata"]["name"] == KEY_TEST}
    return key not in tested


def _misplaced_models(project: Project, key: str) -> bool:
    parts = PurePosixPath(project.nodes[key]["original_file_path"]).parts
    if project.layer(key) == "staging":
        return {project.sources[each]["source_name"] for each in _read_sources(project, key)} != {parts[2]}
    kinds = [layer for layer, prefixes in PREFIXES.items() if parts[-1].startswith(prefixes)]
    return bool(kinds) and [part for part in parts if part in PREFIXES][-1] != kinds[0]


def _misplaced_sources(project: Project) -> set[str]:
    return _names(
        key
        for key, source in project.sources.items()
        if PurePosixPath(source["original_file_path"]).parts[1:3] != ("staging", source["source_name"])
    )


def _misplaced_tests(project: Project) -> set[str]:
    attached = ((test, project.nodes[test["attached_node"]]) for test in project.tests)
    return {
        test["name"]
        for test, node in attached
        if PurePosixPath(test["original_file_path"]).parent
        != PurePosixPath(node["original_file_path"]).parent
    }


def _views_in_a_row(project: Project, key: str) -> int:
    """Return how many views stand one upon the other below a model."""
    views = (
        parent
        for parent in project.parents(key)
        if project.nodes[parent].get("config", {}).get("materialized") in ("view", "ephemeral")
    )
    return max((1 + _views_in_a_row(project, view) for view in views), default=0)


def _exposed(project: Project, broken: Callable[[Node], bool]) -> set[str]:
    """Return the exposures with a parent for which something is not as it should be."""
    return _names(
        key for key in project.exposures if any(broken(project.nodes[each]) for each in project.parents(key))
    )


def _undocumented_columns(node: Node) -> bool:
    return not node["columns"] or any(not column["description"] for column in node["columns"].values())


def _public(node: Node) -> bool:
    return bool(node.get("access") == "public")


RULES: dict[str, Callable[[Project], set[str]]] = {
    "fct_direct_join_to_source": _models(lambda p, k: _read_sources(p, k) and len(p.parents(k)) > 1),
    "fct_marts_or_intermediate_dependent_on_source": _models(
        lambda p, k: p.layer(k) != "staging" and _read_sources(p, k)
    ),
    "fct_duplicate_sources": _duplicate_sources,
    "fct_hard_coded_references": _models(lambda p, k: _HARD_CODED.search(p.nodes[k]["raw_code"])),
    "fct_model_fanout": _models(_model_fanout),
    "fct_multiple_sources_joined": _models(lambda p, k: len(_read_sources(p, k)) > 1),
    "fct_rejoining_of_upstream_concepts": _rejoining,
    "fct_root_models": _models(lambda p, k: not p.parents(k)),
    "fct_source_fanout": lambda p: _names(k for k in p.sources if len(p.children(k)) > 1),
    "fct_staging_dependent_on_marts_or_intermediate": _models(
        lambda p, k: p.layer(k) == "staging" and p.reads(k, "intermediate", "marts")
    ),
    "fct_staging_dependent_on_staging": _models(
        lambda p, k: p.layer(k) == "staging" and p.reads(k, "staging")
    ),
    "fct_unused_sources": lambda p: _names(k for k in p.sources if not p.children(k)),
    "fct_too_many_joins": _models(lambda p, k: len(p.parents(k)) >= JOINS),
    "fct_missing_primary_key_tests": _models(_without_key_test),
    "fct_sources_without_freshness": lambda p: _names(
        k
        for k, source in p.sources.items()
        if not (source["freshness"] or {}).get("warn_after", {}).get("count")
    ),
    "fct_test_coverage": _models(lambda p, k: k not in {test["attached_node"] for test in p.tests}),
    "fct_undocumented_models": _models(lambda p, k: not p.nodes[k]["description"]),
    "fct_documentation_coverage": _models(lambda p, k: _undocumented_columns(p.nodes[k])),
    "fct_undocumented_source_tables": lambda p: _names(
        k for k, s in p.sources.items() if not s["description"]
    ),
    "fct_undocumented_sources": lambda p: _names(
        k for k, source in p.sources.items() if not source["source_description"]
    ),
    "fct_test_directories": _misplaced_tests,
    "fct_model_naming_conventions": _models(
        lambda p, k: not p.nodes[k]["name"].startswith(PREFIXES[p.layer(k)])
    ),
    "fct_source_directories": _misplaced_sources,
    "fct_model_directories": _models(_misplaced_models),
    "fct_chained_views_dependencies": _models(lambda p, k: _views_in_a_row(p, k) > CHAINED_VIEWS),
    "fct_exposure_parents_materializations": lambda p: _exposed(
        p, lambda node: node.get("config", {}).get("materialized") not in ("table", "incremental")
    ),
    "fct_public_models_without_contract": _models(
        lambda p, k: _public(p.nodes[k]) and not p.nodes[k]["config"]["contract"]["enforced"]
    ),
    "fct_exposures_dependent_on_private_models": lambda p: _exposed(p, lambda node: not _public(node)),
    "fct_undocumented_public_models": _models(
        lambda p, k: (
            _public(p.nodes[k]) and (not p.nodes[k]["description"] or _undocumented_columns(p.nodes[k]))
        )
    ),
}
"""The names of what breaks each rule."""
