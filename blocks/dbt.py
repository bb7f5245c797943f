"""dbt as flows see it: one subprocess, its structured events, and a verdict from its own results file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from blocks.dbt_failures import failed_nodes, without
from blocks.errors import ConfigurationError, DbtFailed
from blocks.settings import ROOT
from blocks.strict_block import StrictBlock
from blocks.warehouse import Warehouse

PROJECT = ROOT / "dbt"
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
        schema_name: where its relation stands, in lower case; empty for tests.
    """

    unique_id: str
    name: str
    kind: str
    status: Status
    message: str = ""
    seconds: float = 0
    total: int = 0
    schema_name: str = ""


class DbtResult(BaseModel):
    """How a dbt run ended, read from its `run_results.json`."""

    nodes: list[NodeEvent]
    seconds: float

    def count(self, *statuses: Status, kinds: tuple[str, ...] = ()) -> int:
        """Count the nodes that ended with one of `statuses`, of one of `kinds` (all when empty)."""
        return sum(node.status in statuses and (not kinds or node.kind in kinds) for node in self.nodes)


class DbtProject(StrictBlock):
    """Floe's dbt project with the warehouse it builds in."""

    _block_type_name = "Floe dbt Project"
    _block_type_slug = "floe-dbt-project"
    _description = "Runs the dbt project in a subprocess and reports each node."

    warehouse: Warehouse
    output: Path = Field(description="folder for dbt's target and log folders")
    threads: int | None = Field(None, ge=1, description="nodes built at once; empty for the profile's")
    schema_prefix: str = Field("", description="put before each schema's name; empty in production")
    project: Path | None = Field(None, description="folder of the dbt project; empty for Floe's own")

    def run(self, arguments: list[str], on_event: Callable[[NodeEvent], None]) -> DbtResult:
        """Run dbt and report each node as it starts and ends.

        Args:
            arguments: the dbt command and its options, e.g. `["build", "--select", "..."]`.
            on_event: called for each event, in this thread.

        Returns:
            Every node's end, when none failed.

        Raises:
            DbtFailed: a node failed; the message names each with dbt's words, and of a test how many rows
                failed and the query that shows them.
            ConfigurationError: dbt could not start, parse or compile the project.
        """
        target, secrets = self.output / "target", self.warehouse.secrets()
        results = target / "run_results.json"
        results.unlink(missing_ok=True)
        errors: list[str] = []
        with (
            tempfile.TemporaryFile("w+") as stderr,
            _dbt(self._command(arguments), self._env(), stderr) as process,
        ):
            assert process.stdout is not None  # noqa: S101 - stdout=PIPE was asked for
            for line in process.stdout:
                event = parse_event(line, secrets)
                if isinstance(event, NodeEvent):
                    on_event(event)
                elif event:
                    errors.append(event)
            code = process.wait()
            stderr.seek(0)
            errors += without(secrets, stderr.read()).splitlines()[-5:]
        if code not in (0, 1) or not results.exists():
            raise ConfigurationError(
                f"dbt {arguments[0]} ended with code {code}: {' | '.join(errors[-5:]) or 'no message'}",
                state="nothing was published",
                next_command=f"read {self.output / 'logs' / 'dbt.log'}",
            )
        return verdict(json.loads(results.read_text()), arguments[0], target, secrets)

    def _command(self, arguments: list[str]) -> list[str]:
        options = ["--target", self.warehouse.dbt_target()]
        if self.threads is not None:
            options += ["--threads", str(self.threads)]
        project = str(self.project or PROJECT)
        folders = ["--project-dir", project, "--profiles-dir", project]
        log = ["--log-format", "json", "--log-level", "info", "--no-use-colors"]
        module = [sys.executable, "-m", "blocks.dbt_process"]
        return [*module, *arguments, *options, *folders, *log]

    def _env(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.warehouse.dbt_environment(),
            "DBT_TARGET_PATH": str(self.output / "target"),
            "DBT_LOG_PATH": str(self.output / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "FLOE_DBT_SCHEMA_PREFIX": self.schema_prefix,
        }


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
            schema_name=_schema_of(result.get("relation_name")),
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
            next_command="mend the data or the model, then floe run transform/marts",
            failed=failed,
        )
    return outcome


def _schema_of(relation_name: str | None) -> str:
    """Return the schema in a rendered relation name: `"lake"."build"."fct_sales"` gives `build`."""
    parts = (relation_name or "").replace('"', "").split(".")
    return parts[1].lower() if len(parts) == 3 else ""


@contextmanager
def _dbt(command: list[str], env: dict[str, str], stderr: Any) -> Iterator[subprocess.Popen[str]]:
    """Run dbt in a process group of its own and end the whole group however the block is left."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=env,
        cwd=ROOT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
