"""`prefect.yaml` against the declared connections and datasets, and against itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from blocks.errors import ConfigurationError
from blocks.own_deployments import OURS
from deployments import deployment_check
from deployments.deployment_check import DASHBOARDS, check_deployments, misfits

ENTRYPOINTS = {
    **{flow: flow for flow in ("replicate", "reconcile", "report", "elt")},
    "ingest-csv": "ingest_csv",
}
FITTING = {
    "elt/daily": ("dbt-host", {"sources": ["crm"], "datasets": ["inventory"], "dashboards": True}),
    "report/sales": ("dbt-host", {"dashboard": "sales"}),
    "replicate/crm": ("airbyte-host", {"source": "crm"}),
    "reconcile/crm": ("dbt-host", {"source": "crm"}),
    "ingest-csv/inventory": ("dbt-host", {"dataset": "inventory"}),
}


def found(folder: Path, *left_out: str, **changed: tuple[str, object]) -> list[str]:
    """Write a prefect.yaml like `FITTING` but for the changes, and return its misfits."""
    deployments = []
    for full_name, (pool, parameters) in {**FITTING, **changed}.items():
        flow, _, name = full_name.partition("/")
        entrypoint = f"flows/{ENTRYPOINTS[flow]}.py:{ENTRYPOINTS[flow]}"
        deployment = {
            "name": name,
            "entrypoint": entrypoint,
            "work_pool": {"name": pool},
            "tags": [OURS],
        }
        if full_name not in left_out:
            deployments.append({**deployment, "parameters": parameters})
    file = folder / "prefect.yaml"
    file.write_text(yaml.safe_dump({"deployments": deployments}))
    return list(misfits(file, ["crm"], ["inventory"], ["sales"]))


def test_the_shipped_file_fits_what_is_declared() -> None:
    check_deployments()


def test_a_company_may_have_no_dashboards_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_check, "DASHBOARDS", tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        check_deployments()
    # What prefect.yaml still names, and nothing else.
    assert set(refused.value.what.partition(": ")[2].split("; ")) == {
        f"report/{file.stem} names the dashboard {file.stem}, which is not declared"
        for file in DASHBOARDS.glob("*.yaml")
    }


def test_a_file_that_fits(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.parametrize("name", [name for name in FITTING if name not in ("elt/daily", "report/sales")])
def test_what_is_declared_and_not_deployed(tmp_path: Path, name: str) -> None:
    (problem,) = found(tmp_path, name)
    assert problem.endswith(f"has no deployment {name}")


@pytest.mark.parametrize(
    ("name", "deployment", "problem"),
    [
        pytest.param(
            "replicate/shop",
            ("airbyte-host", {"source": "shop"}),
            "replicate/shop names the source shop, which is not declared",
            id="a source that is gone",
        ),
        pytest.param(
            "elt/daily",
            ("dbt-host", {"sources": ["crm"], "datasets": ["prices"]}),
            "elt/daily names the dataset prices, which is not declared",
            id="a dataset of the daily run that is gone",
        ),
        pytest.param(
            "report/sales",
            ("dbt-host", {"dashboard": "costs"}),
            "report/sales names the dashboard costs, which is not declared",
            id="a dashboard that is gone",
        ),
        pytest.param(
            "reconcile/crm",
            ("dbt-host", {}),
            "reconcile/crm needs parameters: {source: crm}",
            id="a parameter forgotten",
        ),
        pytest.param(
            "elt/daily",
            ("airbyte-host", {"sources": ["crm"], "datasets": ["inventory"]}),
            "elt/daily waits for replicate/crm in their pool airbyte-host: in its last slot, for ever",
            id="a deadlock",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, name: str, deployment: tuple[str, object], problem: str
) -> None:
    assert found(tmp_path, **{name: deployment}) == [problem]


def test_a_deployment_whose_dead_runs_nobody_would_notice_is_named(tmp_path: Path) -> None:
    found(tmp_path)
    file = tmp_path / "prefect.yaml"
    content = yaml.safe_load(file.read_text())
    content["deployments"][0]["tags"] = ["daily"]
    del content["deployments"][1]["tags"]
    file.write_text(yaml.safe_dump(content))
    assert list(misfits(file, ["crm"], ["inventory"], ["sales"])) == [
        f"{name} needs the tag floe: without it nobody notices that a run of it died"
        for name in ("elt/daily", "report/sales")
    ]


def test_a_file_that_does_not_fit_is_refused_with_the_next_command(tmp_path: Path) -> None:
    found(tmp_path)
    with pytest.raises(ConfigurationError, match="the source erp has no deployment replicate/erp") as caught:
        check_deployments(tmp_path / "prefect.yaml")
    assert caught.value.next_command == "correct prefect.yaml, then floe deploy"
