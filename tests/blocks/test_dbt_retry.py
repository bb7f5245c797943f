"""What a retry has to do, by what a failed build left and by what changed in the project since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blocks.dbt_retry import KeptResults, Remaining, WholeBuildNeeded, asked_of

BUILD = {"options of the build": ["build"]}
FULL = {"options of the build": ["build", "--full-refresh"]}
STATUSES = {
    "model.floe.orders": "success",
    "test.floe.unique_orders_id.1": "pass",
    "model.floe.lines": "error",
    "test.floe.not_null_lines_id.2": "skipped",
    "model.floe.totals": "skipped",
    "operation.floe.floe-on-run-start-0": "success",
}
SOURCE = "source.floe.shop.orders"


def manifest(*nodes: str, **materialized: str) -> dict[str, Any]:
    """Return the parts of a manifest that count; models are tables unless it is said otherwise."""
    return {
        "nodes": {
            name: {
                "config": {
                    "materialized": materialized.get(
                        name.split(".")[2], "test" if name.startswith("test") else "table"
                    )
                }
            }
            for name in nodes
        },
        "sources": {SOURCE: {"schema": "RAW_Shop"}},
    }


NODES = [name for name in STATUSES if not name.startswith("operation")]


class Failed:
    """A build that failed, with dbt's target folder and a project that may change."""

    def __init__(self, folder: Path, **materialized: str) -> None:
        self.target, self.project, self.folder = folder / "target", folder / "project", folder / "failed"
        self.target.mkdir()
        self.project.mkdir()
        (self.project / "dbt_project.yml").write_text("name: floe")
        results = {
            "metadata": {},
            "args": {"which": "build"},
            "elapsed_time": 2.0,
            "results": [
                {"unique_id": name, "status": status, "message": None} for name, status in STATUSES.items()
            ],
        }
        (self.target / "run_results.json").write_text(json.dumps(results))
        self.is_now(*NODES, "model.floe.bare", bare="ephemeral", **materialized)
        self.kept = KeptResults(self.folder / "a-run")
        self.kept.keep(self.target, asked_of(self.project, BUILD))

    def is_now(self, *nodes: str, **materialized: str) -> None:
        """Let the project have these nodes."""
        (self.target / "manifest.json").write_text(json.dumps(manifest(*nodes, **materialized)))

    def remaining(self, *modified: str) -> Remaining:
        """Return what is left to do."""
        return self.kept.remaining(self.target, modified)


@pytest.fixture
def failed(tmp_path: Path) -> Failed:
    """The model `lines` failed; what is skipped depends on it."""
    return Failed(tmp_path)


LEFT = {"model.floe.lines", "test.floe.not_null_lines_id.2", "model.floe.totals"}


@pytest.mark.parametrize("modified", [(), ("model.floe.lines",), ("exposure.floe.sales", "unit_test.floe.a")])
def test_what_failed_and_what_was_skipped_is_left_mended_or_not(
    failed: Failed, modified: tuple[str, ...]
) -> None:
    remaining = failed.remaining(*modified)
    assert (set(remaining.nodes), remaining.count_done) == (LEFT, 2)
    told = json.loads((remaining.state / "run_results.json").read_text())
    assert {each["unique_id"]: each["status"] for each in told["results"]} == STATUSES
    assert told["args"] == {"which": "build"}


def test_a_new_node_is_run_too_and_has_failed_until_it_was(failed: Failed) -> None:
    failed.is_now(*NODES, "model.floe.halves", "model.floe.inner", inner="ephemeral")
    remaining = failed.remaining("model.floe.halves", "model.floe.inner")
    assert set(remaining.nodes) == {*LEFT, "model.floe.halves"}
    statuses = {each["unique_id"]: each["status"] for each in remaining.with_results(ran())["results"]}
    assert statuses["model.floe.halves"] == "error"


def ran(**statuses: str) -> dict[str, Any]:
    """Return the results of a retry, by the names of models."""
    results = [{"unique_id": f"model.floe.{name}", "status": status} for name, status in statuses.items()]
    return {"elapsed_time": 1.5, "results": results}


def test_the_last_result_of_each_node_counts_and_the_seconds_of_all_attempts(failed: Failed) -> None:
    together = failed.remaining().with_results(ran(lines="success", totals="error"))
    statuses = {each["unique_id"]: each["status"] for each in together["results"]}
    assert statuses == {**STATUSES, "model.floe.lines": "success", "model.floe.totals": "error"}
    assert (together["elapsed_time"], together["args"]) == (3.5, {"which": "build"})


def test_a_node_that_is_gone_is_neither_run_nor_published(failed: Failed) -> None:
    failed.is_now("model.floe.orders", "model.floe.totals")
    remaining = failed.remaining("model.floe.totals")
    assert remaining.nodes == ("model.floe.totals",)
    names = {each["unique_id"] for each in remaining.done["results"]}
    assert names == {"model.floe.orders", "model.floe.totals", "operation.floe.floe-on-run-start-0"}


@pytest.mark.parametrize(
    ("modified", "reason"),
    [
        ("model.floe.orders", "model orders was built, and has been changed since"),
        ("test.floe.unique_orders_id.1", "test unique_orders_id was built"),
        ("model.floe.bare", "model bare, which others read"),
        (SOURCE, "source shop, which others read"),
    ],
)
def test_everything_is_built_when_something_that_is_done_is_another_now(
    failed: Failed, modified: str, reason: str
) -> None:
    with pytest.raises(WholeBuildNeeded, match=reason):
        failed.remaining("model.floe.lines", modified)


def test_everything_is_built_when_the_project_or_the_options_are_others(failed: Failed) -> None:
    failed.kept.check(asked_of(failed.project, BUILD), undoes_failed_nodes=True)
    with pytest.raises(WholeBuildNeeded, match="options of the build"):
        failed.kept.check(asked_of(failed.project, FULL), undoes_failed_nodes=True)
    (failed.project / "dbt_project.yml").write_text("name: floe\nvars: {a: 1}")
    with pytest.raises(WholeBuildNeeded, match=r"when it failed: dbt_project\.yml"):
        failed.kept.check(asked_of(failed.project, BUILD), undoes_failed_nodes=True)


@pytest.mark.parametrize("kind", ["incremental", "snapshot"])
def test_everything_is_built_after_a_failure_that_may_have_written_a_part(tmp_path: Path, kind: str) -> None:
    failed = Failed(tmp_path, lines=kind, totals="incremental")
    with pytest.raises(WholeBuildNeeded, match=f"model lines is {kind}, and may have written a part"):
        failed.kept.check(asked_of(failed.project, BUILD), undoes_failed_nodes=False)
    failed.kept.check(asked_of(failed.project, BUILD), undoes_failed_nodes=True)


def test_a_skipped_node_has_written_nothing(tmp_path: Path) -> None:
    failed = Failed(tmp_path, totals="incremental")
    failed.kept.check(asked_of(failed.project, BUILD), undoes_failed_nodes=False)


def test_only_the_last_failed_build_is_kept_and_only_as_a_whole(failed: Failed) -> None:
    assert failed.kept.are_there
    assert failed.kept.source_schemas() == {"raw_shop"}
    another = KeptResults(failed.folder / "another-run")
    assert not another.are_there
    (failed.target / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError):
        another.keep(failed.target, asked_of(failed.project, BUILD))
    assert not another.are_there
    assert not failed.kept.are_there
