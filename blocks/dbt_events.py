"""What dbt tells: its structured events, and a verdict from its own results file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from blocks.dbt_failures import failed_nodes, without
from blocks.errors import DbtFailed

Status = Literal["running", "success", "warn", "error", "skipped"]

# dbt's words for a node's end (dbt/artifacts/schemas/results.py), in ours.
_STATUS: dict[str, Status] = {
    "success": "success",
    "pass": "success",
    "warn": "warn",
    "error": "error",
    "fail": "error",
    "runtime error": "error",
    "skipped": "skipped",
    "partial success": "error",
}


class NodeEvent(BaseModel):
    """Something happened to one node of the dbt project.

    Attributes:
        unique_id: dbt's id, e.g. `model.floe.fct_sales`.
        name: the node's own name.
        kind: model, snapshot, test, unit_test, seed.
        status: where the node stands now.
        message: dbt's line about it.
        seconds: time taken; 0 while running.
        total: number of nodes in this run.
    """

    unique_id: str
    name: str
    kind: str
    status: Status
    message: str = ""
    seconds: float = 0
    total: int = 0


class DbtResult(BaseModel):
    """How a dbt run ended, read from its `run_results.json`."""

    nodes: list[NodeEvent]
    seconds: float

    def count(self, *statuses: Status, kinds: tuple[str, ...] = ()) -> int:
        """Count the nodes that ended with one of `statuses`, of one of `kinds` (all when empty)."""
        return sum(node.status in statuses and (not kinds or node.kind in kinds) for node in self.nodes)


def parse_event(line: str, secrets: Sequence[str] = ()) -> NodeEvent | str | None:
    """Read one line of dbt's JSON log.

    Args:
        line: of it.
        secrets: what must not be in the texts.

    Returns:
        A `NodeEvent` for a node's start or end, the text of an error of dbt itself, else None.
        Source: https://docs.getdbt.com/reference/events-logging
    """
    try:
        record = json.loads(line)
        info, data = record["info"], record.get("data", {})
    except (ValueError, KeyError, TypeError):
        return None
    node = data.get("node_info") or {}
    if node.get("resource_type") == "operation":
        return None  # hooks are counted apart from nodes
    if node.get("unique_id") and (
        info["name"] == "LogStartLine"
        or node.get("node_status") in _STATUS
        or info["name"].startswith("Skip")
    ):
        return _node_event(info, data, node, secrets)
    return without(secrets, str(info.get("msg", ""))) if info.get("level") == "error" else None


def listed(line: str) -> str | None:
    """Read one line of the JSON log of `dbt list --output json`: return the node's id, else None."""
    try:
        record = json.loads(line)
        if record["info"]["name"] != "PrintEvent":
            return None
        return str(json.loads(record["info"]["msg"])["unique_id"])
    except (ValueError, KeyError, TypeError):
        return None


def _node_event(
    info: dict[str, Any], data: dict[str, Any], node: dict[str, Any], secrets: Sequence[str]
) -> NodeEvent:
    if info["name"] == "LogStartLine":
        status: Status = "running"
    elif info["name"].startswith("Skip"):
        status = "skipped"
    else:
        status = _STATUS[node["node_status"]]
    return NodeEvent(
        unique_id=node["unique_id"],
        name=node.get("node_name", node["unique_id"]),
        kind=node.get("resource_type", "node"),
        status=status,
        message=without(secrets, str(info.get("msg", ""))),
        seconds=float(data.get("execution_time") or 0),
        total=int(data.get("total") or 0),
    )


def verdict(
    run_results: dict[str, Any], command: str, target: Path | None = None, secrets: Sequence[str] = ()
) -> DbtResult:
    """Judge a run by dbt's own results file, which alone says which nodes were skipped.

    Args:
        run_results: the parsed `run_results.json`
            (https://schemas.getdbt.com/dbt/run-results/v6.json).
        command: the dbt command, for the message.
        target: dbt's target folder, for the names of compiled files.
        secrets: what must not be in the message.

    Raises:
        DbtFailed: a node failed.
    """
    nodes = [
        NodeEvent(
            unique_id=result["unique_id"],
            name=result["unique_id"].split(".")[2],
            kind=result["unique_id"].split(".")[0],
            status=_STATUS[result["status"]],
            message=str(result.get("message") or ""),
            seconds=float(result["execution_time"]),
        )
        for result in run_results["results"]
        if result["status"] != "no-op"  # an exposure, which dbt lists but does not run
    ]
    outcome = DbtResult(nodes=nodes, seconds=float(run_results["elapsed_time"]))
    failing = [result for result in run_results["results"] if _STATUS.get(result["status"]) == "error"]
    if failed := failed_nodes(failing, target, secrets):
        raise DbtFailed(
            f"dbt {command}: {len(failed)} failed, {outcome.count('skipped')} skipped. "
            + "; ".join(map(str, failed)),
            state="nothing was published",
            next_command="mend the model, then retry the run in the UI, which builds only what is left; "
            "or mend the data, then floe run transform/marts",
            failed=failed,
        )
    return outcome
