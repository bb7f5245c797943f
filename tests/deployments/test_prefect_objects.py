"""`prefect.yaml` on a real server: deployed twice nothing changes; what is gone from it is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.variables import Variable

from deployments.prefect_objects import DEPLOYED, LIMITS, PREFECT_YAML, deploy

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("clean")]
FLOWS = {"kept": "transform", "gone": "publish", "foreign": "publish"}
POOL = "made by deploy"


@pytest.fixture
def clean(prefect_server: None) -> Iterator[None]:
    """Nothing of ours may stay on the server that tests share."""
    yield
    with get_client(sync_client=True) as client:
        for deployment in on_server().values():
            client.delete_deployment(deployment.id)
        client.delete_work_pool(POOL)
    Variable.unset(DEPLOYED)


def declared(file: Path, *names: str, cron: str | None = None, ours: bool = True) -> Path:
    """Write a file of these deployments with the shipped one's pull step; the first has the schedule."""
    (step,) = yaml.safe_load(PREFECT_YAML.read_text())["pull"]
    if not ours:
        (fields,) = step.values()
        del fields["id"]
    deployments: list[dict[str, Any]] = [
        {
            "name": name,
            "entrypoint": f"flows/{FLOWS[name]}.py:{FLOWS[name]}",
            "work_pool": {"name": POOL},
            "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
        }
        for name in names
    ]
    if cron:
        deployments[0]["schedules"] = [{"cron": cron, "timezone": "Europe/Berlin", "active": False}]
    file.write_text(yaml.safe_dump({"pull": [step], "deployments": deployments}))
    return file


def on_server() -> dict[str, DeploymentResponse]:
    with get_client(sync_client=True) as client:
        return {each.name: each for each in client.read_deployments() if each.name in FLOWS}


def test_a_second_deploy_changes_nothing(tmp_path: Path) -> None:
    file = declared(tmp_path / "prefect.yaml", "kept", "gone", cron="0 4 * * *")
    assert deploy(file)
    first = on_server()
    assert not deploy(file)
    Variable.unset(DEPLOYED)
    assert deploy(file)
    second = on_server()
    assert {name: each.id for name, each in first.items()} == {name: each.id for name, each in second.items()}
    (schedule,) = second["kept"].schedules
    assert schedule.schedule.cron == "0 4 * * *"


def test_what_is_gone_from_the_file_is_deleted_and_nothing_of_others(tmp_path: Path) -> None:
    deploy(declared(tmp_path / "foreign.yaml", "foreign", cron="0 6 * * *", ours=False))
    deploy(declared(tmp_path / "prefect.yaml", "kept", "gone", cron="0 4 * * *"))
    assert set(on_server()) == {"kept", "gone", "foreign"}
    deploy(declared(tmp_path / "prefect.yaml", "kept"))
    left = on_server()
    assert set(left) == {"kept", "foreign"}
    assert left["kept"].schedules == []
    assert len(left["foreign"].schedules) == 1


def test_what_was_deleted_on_the_server_comes_back(tmp_path: Path) -> None:
    file = declared(tmp_path / "prefect.yaml", "kept")
    deploy(file)
    with get_client(sync_client=True) as client:
        for limit in LIMITS:
            client.delete_global_concurrency_limit_by_name(limit)
        assert deploy(file)
        assert {name: client.read_global_concurrency_limit_by_name(name).limit for name in LIMITS} == LIMITS
        client.delete_work_pool(POOL)
        assert deploy(file)
        assert client.read_work_pool(POOL).type == "process"
    assert on_server()["kept"].work_pool_name == POOL
    assert not deploy(file)
