"""The dbt project built over the sample, and over a company whose days go on, for every test to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tpcds_raw
from changed_company import changed, mended, refused, unusual  # noqa: F401 - fixtures
from company import Company
from dbt_stages import DbtProject, DbtServer, Stage
from simulated_runs import Run, first_run, run_after

from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.deployments.local.sample_databases import generated


@pytest.fixture(scope="session")
def dbt() -> Iterator[DbtServer]:
    """What runs dbt for every project of the session."""
    server = DbtServer()
    yield server
    server.close()


def over_sample(dbt: DbtServer, cluster: Any, extensions: Path, folder: Path) -> DbtProject:
    """Return the dbt project over the raw layer of the sample in a new lake, with nothing built yet."""
    lake = DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("dbt"),
        passfile=cluster.passfile,
        data_path=folder / "lake",
        extension_directory=extensions,
    )
    with connect(lake) as connection:
        tpcds_raw.load_sample(connection)
    return DbtProject(dbt, lake, folder)


@pytest.fixture(scope="session")
def project(
    dbt: DbtServer, cluster: Any, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> DbtProject:
    """The dbt project over the raw layer of the sample, with nothing built yet."""
    return over_sample(dbt, cluster, extension_directory, tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="module")
def own_project(
    dbt: DbtServer, cluster: Any, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> DbtProject:
    """The same over a lake that only one file of tests sees."""
    return over_sample(dbt, cluster, extension_directory, tmp_path_factory.mktemp("dbt"))


@pytest.fixture(scope="session")
def first(project: DbtProject) -> Stage:
    """The sample, built once, with every test."""
    stage = project.build()
    assert stage.outcome.returncode == 0, stage.outcome.output
    return stage


@pytest.fixture(scope="session")
def second(project: DbtProject, first: Stage) -> Stage:
    """Built again although nothing changed; the tests have seen these rows already."""
    stage = project.build("--exclude-resource-type", "test", "unit_test")
    assert stage.outcome.returncode == 0, stage.outcome.output
    return stage


# Tests of the project itself run on these data in the last of the runs only, to save time.
BUILD_ONLY = ("--exclude-resource-type", "test", "unit_test")


@pytest.fixture(scope="session")
def company(cluster: Any, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Company:
    """A company of its own with its databases, files and an empty lake."""
    folder = tmp_path_factory.mktemp("company")
    databases, _ = generated(cluster, extension_directory)
    lake = DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("company"),
        passfile=cluster.passfile,
        data_path=folder / "lake",
        extension_directory=extension_directory,
    )
    return Company(databases.copy(), lake, folder)


@pytest.fixture(scope="session")
def company_project(dbt: DbtServer, company: Company) -> DbtProject:
    """The dbt project over the company's raw layer."""
    return DbtProject(dbt, company.lake, company.folder)


@pytest.fixture(scope="session")
def untouched(company: Company, company_project: DbtProject) -> Run:
    """The company before its first day, replicated from PostgreSQL and built."""
    return first_run(company, company_project, *BUILD_ONLY)


@pytest.fixture(scope="session")
def three_days(company: Company, company_project: DbtProject, untouched: Run) -> Run:
    """Three days later; the stock file of 2 January has not arrived, and never will."""
    return run_after(company, company_project, 3, *BUILD_ONLY, lost=["2003-01-02"])


@pytest.fixture(scope="session")
def eight_days(company: Company, company_project: DbtProject, three_days: Run) -> Run:
    """Five more days without a run between; the stock file of 9 January arrives twice."""
    options = ("--exclude-resource-type", "unit_test")
    return run_after(company, company_project, 5, *options, lost=["2003-01-02"], again=["2003-01-09"])
