"""What is told of failed dbt nodes: their SQL, and where the rows are that a test found.

dbt's own log names files on the host that ran it; here the SQL itself travels with the error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

# Prefect refuses a log line above a megabyte; nobody reads as much.
LONGEST_SQL = 20_000
_HIDDEN = "********"


class FailedNode(BaseModel):
    """A node of the dbt project that ended in an error.

    Attributes:
        unique_id: dbt's id.
        kind: model, snapshot, test, ...
        name: the node's own name.
        message: dbt's words, on one line.
        failing_rows: of a test that did not hold; None for everything else.
        query: shows the failing rows, where the test has stored them.
        sql: as dbt compiled it; empty where it did not come to that.
        compiled: the file of it, on the host that ran dbt.
    """

    model_config = ConfigDict(frozen=True)

    unique_id: str
    kind: str
    name: str
    message: str
    failing_rows: int | None = None
    query: str = ""
    sql: str = ""
    compiled: str = ""

    def __str__(self) -> str:
        """Return what an error's message says of it."""
        told = f"{self.kind} {self.name}: {self.message}"
        if self.query:
            told += f" ({self.failing_rows} failing rows: {self.query})"
        return told


def failed_nodes(
    results: Sequence[dict[str, Any]], target: Path | None = None, secrets: Sequence[str] = ()
) -> list[FailedNode]:
    """Return what is told of nodes that failed.

    Args:
        results: their entries in dbt's `run_results.json`.
        target: dbt's target folder, whose manifest knows the compiled files.
        secrets: what must be in no text.
    """
    files = _compiled_files(target) if results and target is not None else {}
    return [_failed(result, files.get(result["unique_id"], ""), secrets) for result in results]


def _failed(result: dict[str, Any], compiled: str, secrets: Sequence[str]) -> FailedNode:
    unique_id = result["unique_id"]
    kind, _, name = unique_id.split(".")[:3]
    rows = result.get("failures") if result["status"] == "fail" else None
    stored = rows and kind == "test" and result.get("relation_name")
    return FailedNode(
        unique_id=unique_id,
        kind=kind,
        name=name,
        message=" ".join(without(secrets, str(result.get("message") or "")).split()),
        failing_rows=rows,
        query=f"select * from {stored}" if stored else "",
        sql=without(secrets, (result.get("compiled_code") or "").strip())[:LONGEST_SQL],
        compiled=compiled,
    )


def without(secrets: Sequence[str], text: str) -> str:
    """Return a text in which no secret can be read."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text


def _compiled_files(target: Path) -> dict[str, str]:
    try:
        manifest = json.loads((target / "manifest.json").read_text())
    except (OSError, ValueError):
        # The file is a convenience: the SQL itself is in the results.
        return {}
    return {name: node.get("compiled_path") or "" for name, node in manifest["nodes"].items()}
