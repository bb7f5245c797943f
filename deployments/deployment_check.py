"""Whether `prefect.yaml` fits what is declared: all is brought, no run waits for ever or dies unseen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.errors import ConfigurationError
from blocks.own_deployments import OURS
from deployments.connection import load_declarations
from deployments.prefect_objects import PREFECT_YAML, declared_deployments
from deployments.slots import WAITING
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.settings import DATASETS

# The flows that bring one connection or dataset, and the parameter that names it.
BRINGING = {"replicate": "source", "reconcile": "source", "ingest-csv": "dataset"}


def check_deployments(file: Path = PREFECT_YAML) -> None:
    """Refuse a `prefect.yaml` that leaves out what is declared, names what is not, or could deadlock.

    Raises:
        ConfigurationError: it names every problem.
    """
    sources = [declared.source for declared in load_declarations()]
    dashboards = [declared.key for declared in load_dashboards(DASHBOARDS, allow_none=True)]
    problems = list(misfits(file, sources, Contracts(DATASETS).names(), dashboards))
    if problems:
        raise ConfigurationError(
            f"{file.name}: {'; '.join(problems)}",
            state="the server's deployments are as they were",
            next_command=f"correct {file.name}, then floe deploy",
        )


def misfits(
    file: Path, sources: Sequence[str], datasets: Sequence[str], dashboards: Sequence[str]
) -> Iterator[str]:
    """Yield what does not fit between the deployments of `file` and what is declared."""
    names = declared_deployments(file)
    deployments = dict(zip(names, yaml.safe_load(file.read_text())["deployments"], strict=True))
    yield from (f"{name} is declared twice" for name, times in Counter(names).items() if times > 1)
    declared = {"source": sources, "dataset": datasets, "dashboard": dashboards}
    for flow, parameter in BRINGING.items():
        yield from _unbrought(flow, parameter, declared[parameter], deployments)
    for name, deployment in deployments.items():
        yield from _unknown(name, deployment, declared)
        if OURS not in deployment.get("tags", []):
            yield f"{name} needs the tag {OURS}: without it nobody notices that a run of it died"
    yield from _deadlocks(deployments)


def _unbrought(
    flow: str, parameter: str, declared: Sequence[str], deployments: dict[str, Any]
) -> Iterator[str]:
    for each in declared:
        name = f"{flow}/{each}"
        given = deployments.get(name, {}).get("parameters", {})
        if name not in deployments:
            yield f"the {parameter} {each} has no deployment {name}"
        elif given.get(parameter) != each:
            yield f"{name} needs parameters: {{{parameter}: {each}}}"


def _unknown(name: str, deployment: dict[str, Any], declared: dict[str, Sequence[str]]) -> Iterator[str]:
    given = deployment.get("parameters") or {}
    for parameter, known in declared.items():
        several = given.get(f"{parameter}s")
        named = [given[parameter]] if given.get(parameter) else several if isinstance(several, list) else []
        yield from (
            f"{name} names the {parameter} {each}, which is not declared"
            for each in named
            if each not in known
        )


def _deadlocks(deployments: dict[str, Any]) -> Iterator[str]:
    pools = {name: deployment["work_pool"]["name"] for name, deployment in deployments.items()}
    # Of other flows that wait the worker demands slots enough; elt runs every day, beside all the others.
    for parent in (name for name in pools if name.startswith("elt/")):
        pool = pools[parent]
        for child in pools:
            if child.split("/")[0] in WAITING["elt"] and pools[child] == pool:
                yield f"{parent} waits for {child} in their pool {pool}: in its last slot, for ever"
