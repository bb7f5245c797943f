"""Runs on the Prefect server that ended long ago."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.results import ResultRecord, ResultRecordMetadata  # type: ignore[attr-defined]
from prefect.settings import PREFECT_HOME
from prefect.states import Completed

from blocks.own_deployments import OURS
from blocks.settings import ROOT


def deployed(flow: Flow[..., Any], *, ours: bool = True) -> UUID:
    """Make a deployment, from a `prefect.yaml` of Floe's or of somebody else's; return its id."""
    step = {"directory": str(ROOT)} | ({"id": OURS} if ours else {})
    with get_client(sync_client=True) as client:
        return client.create_deployment(
            client.create_flow(flow),
            name=str(uuid4()),
            pull_steps=[{"prefect.deployments.steps.set_working_directory": step}],
        )


def keep_result(run: UUID, path: Path) -> None:
    """Let a run end now, with its result in a file."""
    result = ResultRecord(result=None, metadata=ResultRecordMetadata(storage_key=str(path)))
    result.mark_persisted()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Completed(data=result), force=True)


def make_older(run: UUID, days: float) -> None:
    """Let a run have ended so many days earlier."""
    # The server's API gives what it is told the time of now.
    with closing(sqlite3.connect(PREFECT_HOME.value() / "prefect.db", timeout=30)) as database, database:
        changed = database.execute(
            "update flow_run set end_time = datetime(end_time, ?), "
            "expected_start_time = datetime(expected_start_time, ?) where id = ?",
            (f"-{days} days", f"-{days} days", str(run)),
        )
    assert changed.rowcount == 1
