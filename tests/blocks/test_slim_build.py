"""A slim build beside a published one: the real dbt, a real lake and a real object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from file_stack import StoreProcess, running_store

from blocks.dbt import DbtProject
from blocks.dbt_events import DbtResult
from blocks.errors import ConfigurationError
from blocks.object_store import LandingBucket
from blocks.slim_build import keep_manifest, slim_build
from blocks.warehouse import Warehouse
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.settings import ObjectStoreSettings
from tests.small_project import small_project

pytestmark = pytest.mark.thorough

MODELS = {
    "prices": "select 1 as item, 10 as price",
    "stock": "select 1 as item, 5 as pieces",
    "worth": "select price * pieces as worth from {{ ref('prices') }} join {{ ref('stock') }} using (item)",
    "counted": "select count(*) as items from {{ ref('stock') }}",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store"), "published", "empty") as running:
        yield running


def bucket(store: StoreProcess, name: str) -> ObjectStoreSettings:
    return ObjectStoreSettings(
        bucket=name,
        queue_url="q",
        dead_letter_queue_url="d",
        endpoint_url=store.url,
        access_key_id="a",
        secret_access_key="s",
    )


@pytest.fixture
def published(store: StoreProcess, lake: DuckLakeSettings, tmp_path: Path) -> DbtProject:
    """A project of four models, built and published."""
    folder = small_project(tmp_path / "project")
    for name, sql in MODELS.items():
        (folder / "models" / f"{name}.sql").write_text(sql)
    project = DbtProject(warehouse=Warehouse(target=lake), output=tmp_path / "output", project=folder)
    project.run(["build"], lambda event: None)
    keep_manifest(LandingBucket(**bucket(store, "published").model_dump()), project)
    return project


def of_a_developer(project: DbtProject) -> DbtProject:
    return project.model_copy(update={"schema_prefix": "ada", "output": project.output / "ada"})


def built(result: DbtResult) -> set[str]:
    return {node.name for node in result.nodes if node.status == "success"}


def test_what_changed_and_its_children_are_built_apart_and_the_rest_is_read_where_it_is_published(
    store: StoreProcess, published: DbtProject, lake: DuckLakeSettings
) -> None:
    assert published.project is not None
    (published.project / "models/prices.sql").write_text("select 1 as item, 11 as price")
    result = slim_build(bucket(store, "published"), of_a_developer(published), lambda event: None)
    assert built(result) == {"prices", "worth"}
    with connect(lake) as connection:
        there = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables"
            " where table_catalog = 'lake' and table_schema like '%build'"
        ).fetchall()
        worths = [
            connection.execute(f"select worth from lake.{schema}.worth").fetchone()
            for schema in ("ada_build", "build")
        ]
    assert {name for (name,) in there} == {f"build.{name}" for name in MODELS} | {
        "ada_build.prices",
        "ada_build.worth",
    }
    assert worths == [(55,), (50,)]


def test_a_build_of_nothing_changed_builds_nothing(store: StoreProcess, published: DbtProject) -> None:
    result = slim_build(bucket(store, "published"), of_a_developer(published), lambda event: None)
    assert built(result) == set()


def test_without_a_publication_or_a_prefix_nothing_is_built(
    store: StoreProcess, published: DbtProject
) -> None:
    with pytest.raises(ConfigurationError, match="nothing was published yet"):
        slim_build(bucket(store, "empty"), of_a_developer(published), lambda event: None)
    with pytest.raises(ConfigurationError, match="schemas of your own"):
        slim_build(bucket(store, "published"), published, lambda event: None)
