"""What a build of what has changed selects, by what has changed in the warehouse and in the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blocks.changed_nodes import CODE, PublishedBuild
from blocks.dbt_retry import WholeBuildNeeded
from blocks.publication import Changes

ASKED = {"target": "local", CODE: "as it was"}
SINCE = {"FLOE_DBT_BEGAN_WITH": "3", "FLOE_DBT_PUBLISHED_VERSION": "7"}
# Each node with how it is made and what it reads.
NODES = {
    "model.floe.stg_orders": ("view", ["source.floe.shop.orders"]),
    "model.floe.stg_items": ("view", ["source.floe.shop.items"]),
    "model.floe.int_lines": ("view", ["model.floe.stg_orders", "model.floe.stg_items"]),
    "model.floe.fct_lines": ("incremental", ["model.floe.int_lines"]),
    "model.floe.dim_items": ("table", ["model.floe.stg_items"]),
    "snapshot.floe.snp_items": ("snapshot", ["model.floe.stg_items"]),
    "test.floe.grain_of_lines.1": ("test", ["model.floe.fct_lines"]),
    "test.floe.grain_of_items.2": ("test", ["model.floe.dim_items"]),
    "operation.floe.floe-on-run-start-0": ("view", []),
}


def manifest() -> dict[str, Any]:
    """Return the parts of a manifest that count."""
    names = {name: name.split(".")[2] for name in NODES}
    sources = {
        f"source.floe.shop.{table}": {"schema": "RAW_Shop", "name": table, "identifier": table.upper()}
        for table in ("orders", "items")
    }
    return {
        "sources": sources,
        "nodes": {
            name: {
                "schema": "test_failures" if kind == "test" else "build",
                "name": names[name],
                "alias": names[name],
                "fqn": ["floe", "folder", names[name]],
                "config": {"materialized": kind},
            }
            for name, (kind, _) in NODES.items()
        },
        "child_map": {
            parent: [name for name, (_, parents) in NODES.items() if parent in parents]
            for parent in (*sources, *NODES)
        },
    }


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The target folder of dbt after a build."""
    folder = tmp_path / "target"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest()))
    ended(folder, dict.fromkeys(NODES, "success"))
    return folder


@pytest.fixture
def published(tmp_path: Path, target: Path) -> PublishedBuild:
    """A build that was published."""
    build = PublishedBuild(tmp_path / "published")
    build.keep(target, ASKED, "first")
    return build


def ended(target: Path, statuses: dict[str, str]) -> None:
    """Let nodes have ended so in the last build."""
    results = [{"unique_id": name, "status": status} for name, status in statuses.items()]
    (target / "run_results.json").write_text(json.dumps({"results": results}))


def changes(*relations: tuple[str, str], publication: str = "first") -> Changes:
    """Return what has changed in a lake since a build that began with version 3 published version 7."""
    return Changes(publication, frozenset(relations), began_with=3, published_version=7)


def selected(build: PublishedBuild, *relations: tuple[str, str], publication: str = "first") -> set[str]:
    """Return the names of the nodes that are selected besides what every build selects."""
    chosen = build.selection(ASKED, changes(*relations, publication=publication))
    # A table of the build that somebody has changed is compared in all its rows.
    built = {name.split(".")[2] for name in NODES if name.startswith("model.")}
    assert chosen.environment == ({} if any(name in built for _, name in relations) else SINCE)
    options = chosen.options
    assert options[:3] == ("--select", "state:modified+", "tag:clock")
    assert options[-2] == "--state" and (Path(options[-1]) / "manifest.json").exists()
    return {option.removeprefix("fqn:floe.folder.") for option in options[3:-2]}


OF_ORDERS = {"stg_orders", "fct_lines", "grain_of_lines"}
OF_ITEMS = {"stg_items", "fct_lines", "grain_of_lines", "dim_items", "snp_items", "grain_of_items"}


@pytest.mark.parametrize(
    ("relation", "names"),
    [
        (("raw_shop", "orders"), OF_ORDERS),
        (("raw_shop", "items"), OF_ITEMS),
        (("raw_shop", "__floe_repairs_orders"), OF_ORDERS),
        (("raw_other", "orders"), set()),
        (("raw_shop", "undeclared"), set()),
        (("build", "dim_items"), {"dim_items", "grain_of_items"}),
        (("build", "int_lines"), {"int_lines", "fct_lines", "grain_of_lines"}),
        (("build", "floe-on-run-start-0"), set()),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_what_reads_a_changed_relation_is_built_but_for_views_that_show_it_anyway(
    published: PublishedBuild, relation: tuple[str, str], names: set[str]
) -> None:
    assert selected(published, relation) == names


def test_the_schemas_are_those_that_were_read_and_those_that_were_written(published: PublishedBuild) -> None:
    assert published.schemas() == ({"raw_shop"}, {"build"})


def test_a_test_that_warned_is_run_until_it_passes(published: PublishedBuild, target: Path) -> None:
    ended(target, {"test.floe.grain_of_items.2": "warn", "model.floe.dim_items": "success"})
    published.keep(target, ASKED, "second")
    assert selected(published, publication="second") == {"grain_of_items"}
    ended(target, {"model.floe.fct_lines": "success"})
    published = PublishedBuild(target.parent / "published")
    published.keep(target, ASKED, "third")
    assert selected(published, publication="third") == {"grain_of_items"}
    ended(target, {"test.floe.grain_of_items.2": "pass"})
    published.keep(target, ASKED, "fourth")
    assert selected(published, publication="fourth") == set()


def test_everything_is_built_when_another_host_has_published_since(published: PublishedBuild) -> None:
    with pytest.raises(WholeBuildNeeded, match="publication second was not built on this host"):
        selected(published, publication="second")


def test_everything_is_built_when_the_project_is_another(published: PublishedBuild) -> None:
    with pytest.raises(WholeBuildNeeded, match="other than when it was published: target"):
        published.selection({"target": "snowflake"}, changes())


def test_every_row_counts_as_changed_when_some_code_is_another(published: PublishedBuild) -> None:
    chosen = published.selection({**ASKED, CODE: "another"}, changes(("raw_shop", "orders")))
    assert len(chosen.options) > 5 and chosen.environment == {}


def test_what_is_kept_is_there_only_as_a_whole(published: PublishedBuild, tmp_path: Path) -> None:
    assert published.is_there
    (tmp_path / "published" / "publication.json").unlink()
    assert not published.is_there
    published.forget()
    assert not (tmp_path / "published").exists()
