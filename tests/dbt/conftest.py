"""The dbt project built once over the sample, and once more, for every test that looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tpcds_raw
from dbt_stages import DbtProject, Stage

from lambda_csv_loader.ducklake import DuckLakeSettings, connect


@pytest.fixture(scope="session")
def project(cluster: Any, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """The dbt project over the raw layer of the sample, with nothing built yet."""
    folder = tmp_path_factory.mktemp("dbt")
    lake = DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("dbt"),
        passfile=cluster.passfile,
        data_path=folder / "lake",
        extension_directory=extension_directory,
    )
    with connect(lake) as connection:
        tpcds_raw.load_sample(connection)
    return DbtProject(lake, folder)


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
