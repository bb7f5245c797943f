"""Prefect's own objects: work pools first, then every deployment of `prefect.yaml`, then automations."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.variables import Variable

from blocks.errors import ConfigurationError
from blocks.own_deployments import all_deployments, named, own_deployments
from blocks.settings import ROOT, AlertSettings
from deployments.alerts import alert_automations
from deployments.automations import apply_automations, declared_automations

PREFECT_YAML = ROOT / "prefect.yaml"
DEPLOYED = "floe_prefect_yaml"
# One build of the marts at a time, however it was started (a deployment of its own, or within elt).
LIMITS = {"transform": 1}


def declared_pools(file: Path = PREFECT_YAML) -> list[str]:
    """Return the names of the work pools that the deployments use."""
    deployments = yaml.safe_load(file.read_text())["deployments"]
    return sorted({deployment["work_pool"]["name"] for deployment in deployments})


def ensure_pools(names: list[str]) -> list[str]:
    """Create the process work pools that are missing; return their names.

    `prefect deploy --all` stops half-way at the first pool that does not exist.
    """
    created = []
    with get_client(sync_client=True) as client:
        for name in names:
            try:
                client.read_work_pool(name)
            except ObjectNotFound:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))
                created.append(name)
    return created


def ensure_limits(limits: Mapping[str, int] = LIMITS) -> list[str]:
    """Create the global concurrency limits that flows hold, or set them to their declared size.

    Returns:
        Those that were not so.
    """
    changed = []
    with get_client(sync_client=True) as client:
        for name, limit in limits.items():
            try:
                there: int | None = client.read_global_concurrency_limit_by_name(name).limit
            except ObjectNotFound:
                there = None
            if there != limit:
                client.upsert_global_concurrency_limit_by_name(name, limit)
                changed.append(name)
    return changed


def deploy(file: Path = PREFECT_YAML) -> bool:
    """Make the server's pools, limits and deployments those of `file`; return whether anything was to do.

    `prefect deploy --all` takes a while, so it is left out when this very file was deployed last, with
    these very flows (their parameters and docstrings are part of a deployment), and all of its
    deployments are still there, each in its pool.

    Raises:
        ConfigurationError: prefect refused a deployment, or fewer than declared exist afterwards.
    """
    made = [*ensure_pools(declared_pools(file)), *ensure_limits()]
    digest = _digest(file)
    if Variable.get(DEPLOYED, default=None) == digest and not missing_deployments(file):
        return bool(made)
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)],
        cwd=ROOT,
        env={
            **os.environ,
            # The server that this process talks to, wherever it has that from.
            **get_current_settings().to_environment_variables(exclude_unset=True),
            "FLOE_ROOT": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    missing = missing_deployments(file)
    if done.returncode or missing:
        raise ConfigurationError(
            f"prefect deploy failed on {file.name}, missing: {', '.join(missing) or 'none'}. "
            f"{(done.stderr or done.stdout).strip()[-800:]}",
            state="the other deployments are as they were",
            next_command=f"prefect --no-prompt deploy --all --prefect-file {file.name}",
        )
    remove_undeclared(file)
    Variable.set(DEPLOYED, digest, overwrite=True)
    return True


def remove_undeclared(file: Path = PREFECT_YAML) -> list[str]:
    """Delete what earlier deploys made and `file` has no more: deployments, and schedules of those it has.

    `prefect deploy` leaves both as they are: such a deployment would go on being scheduled.

    Returns:
        What was deleted.
    """
    declared = yaml.safe_load(file.read_text())["deployments"]
    schedules = dict(
        zip(declared_deployments(file), (each.get("schedules") for each in declared), strict=True)
    )
    deleted = []
    with get_client(sync_client=True) as client:
        for name, deployment in named(client, own_deployments(client)):
            if name not in schedules:
                client.delete_deployment(deployment.id)
                deleted.append(name)
            elif deployment.schedules and not schedules[name]:
                for schedule in deployment.schedules:
                    client.delete_deployment_schedule(deployment.id, schedule.id)
                deleted.append(f"schedule of {name}")
    return deleted


def automate(alerts: AlertSettings) -> list[str]:
    """Make the server's automations the declared ones and the alerts; return a line for each that changed.

    Raises:
        ConfigurationError: one is wrong, or the block of a receiver is not saved.
    """
    return apply_automations([*declared_automations(), *alert_automations(alerts)])


def deployed_sources() -> list[Path]:
    """Return the files that make the forms of deployments: flows, and the classes of their parameters."""
    return [*sorted((ROOT / "flows").glob("*.py")), ROOT / "blocks" / "backfill.py"]


def _digest(file: Path) -> str:
    sources = [file, *deployed_sources()]
    content = b"".join(source.read_bytes() for source in sources) + str(ROOT).encode()
    return hashlib.sha256(content).hexdigest()


def missing_deployments(file: Path = PREFECT_YAML) -> list[str]:
    """Return the declared deployments that the server does not have in their pool, as `flow/deployment`.

    One whose pool was deleted stays without any, also when there is a pool of that name again.
    """
    with get_client(sync_client=True) as client:
        there = {name: each.work_pool_name for name, each in named(client, all_deployments(client))}
    pools = (each["work_pool"]["name"] for each in yaml.safe_load(file.read_text())["deployments"])
    declared = zip(declared_deployments(file), pools, strict=True)
    return [name for name, pool in declared if there.get(name) != pool]


def declared_deployments(file: Path = PREFECT_YAML) -> list[str]:
    """Return the declared deployments as `flow/deployment`, the flow's name taken from its entrypoint."""
    declared = yaml.safe_load(file.read_text())["deployments"]
    return [
        f"{deployment['entrypoint'].rsplit(':', 1)[1].replace('_', '-')}/{deployment['name']}"
        for deployment in declared
    ]
