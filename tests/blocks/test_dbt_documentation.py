"""The documentation of a dbt project as one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.dbt import DbtProject
from blocks.errors import ConfigurationError
from blocks.warehouse import Warehouse
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.small_project import small_project

pytestmark = pytest.mark.thorough


def test_descriptions_and_types_are_in_a_page_that_needs_no_other_file(
    new_lake: Callable[[], DuckLakeSettings], tmp_path: Path
) -> None:
    lake, folder = new_lake(), small_project(tmp_path / "project")
    (folder / "models" / "orders.sql").write_text("select 1::hugeint as order_number")
    (folder / "models" / "orders.yml").write_text(
        "models: [{name: orders, description: one row per order,"
        " columns: [{name: order_number, description: as the shop counts}]}]"
    )
    project = DbtProject(warehouse=Warehouse(target=lake), output=tmp_path / "output", project=folder)
    project.run(["build"], lambda _: None)
    page = tmp_path / "pages" / "documentation.html"
    project.document(page)
    text = page.read_text()
    for word in ("one row per order", "as the shop counts", "HUGEINT"):
        assert word in text
    assert [file.name for file in page.parent.iterdir()] == [page.name]
    with connect(lake) as connection:
        assert connection.execute("select * from build.orders").fetchall() == [(1,)]


def test_a_project_that_cannot_be_read_leaves_the_page_as_it_was(
    new_lake: Callable[[], DuckLakeSettings], tmp_path: Path
) -> None:
    folder, page = small_project(tmp_path / "project"), tmp_path / "documentation.html"
    (folder / "models" / "orders.sql").write_text("select * from {{ ref('nothing') }}")
    page.write_text("before")
    project = DbtProject(warehouse=Warehouse(target=new_lake()), output=tmp_path / "output", project=folder)
    with pytest.raises(ConfigurationError, match="nothing"):
        project.document(page)
    assert page.read_text() == "before"
