"""Work pools have slots enough for runs that wait for one another."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml

from deployments.local.services import WORK_POOLS
from deployments.slots import least_slots
from deployments.worker import main


def written(folder: Path, **pools: str) -> Path:
    """Write a prefect.yaml with a deployment of each flow, in its pool."""
    deployments = [
        {"name": "one", "entrypoint": f"flows/{flow}.py:{flow}", "work_pool": {"name": pool}}
        for flow, pool in pools.items()
    ]
    file = folder / "prefect.yaml"
    file.write_text(yaml.safe_dump({"deployments": deployments}))
    return file


def test_a_pool_in_which_nobody_waits_for_anybody_needs_one_slot(tmp_path: Path) -> None:
    file = written(tmp_path, elt="here", replicate="there", publish="there", ingest_csv="here")
    assert (least_slots("here", file), least_slots("there", file)) == (1, 1)


def test_each_that_waits_for_another_of_its_pool_needs_a_slot_more(tmp_path: Path) -> None:
    file = written(tmp_path, elt="here", backfill="here", replicate="here", ingest_csv="here")
    assert least_slots("here", file) == 3
    file = written(tmp_path, elt="here", backfill="here", replicate="there", ingest_csv="here")
    assert least_slots("here", file) == 2


def test_the_laptop_has_slots_enough() -> None:
    assert {pool: limit for pool, limit in WORK_POOLS.items() if limit < least_slots(pool)} == {}


def test_a_worker_with_too_few_slots_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match="dbt-host needs --limit 2"):
        main("dbt-host", 1)
