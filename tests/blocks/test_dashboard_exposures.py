from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_exposures import check_exposures, exposures_file, exposures_text
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dbt import PROJECT
from blocks.errors import ConfigurationError


def exposed(dashboards: tuple[Dashboard, ...]) -> dict[str, dict[str, Any]]:
    content = yaml.safe_load(exposures_text(dashboards))
    return {each["name"]: each for each in content["exposures"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A dbt project with the exposures of the shipped dashboards."""
    (tmp_path / "models").mkdir()
    exposures_file(tmp_path).write_text(exposures_text(load_dashboards(DASHBOARDS)))
    return tmp_path


def test_the_committed_exposures_are_those_of_the_shipped_dashboards() -> None:
    check_exposures(load_dashboards(DASHBOARDS), PROJECT)


def test_an_exposure_says_what_the_dashboard_says() -> None:
    assert exposed(load_dashboards(DASHBOARDS))["inventory"] == {
        "name": "inventory",
        "label": "Inventory",
        "type": "dashboard",
        "description": "Stock, weeks of supply and items that are about to run out, by week.",
        "owner": {"name": "Merchandising", "email": "merchandising@example.com"},
        "depends_on": [
            "ref('dim_items')",
            "ref('dim_warehouses')",
            "ref('fct_inventory_weekly')",  # by `data_as_of` only
            "ref('fct_weekly_sales_inventory')",
        ],
    }


def test_a_card_that_reads_another_mart_changes_the_exposure() -> None:
    [overview, *others] = load_dashboards(DASHBOARDS)
    tab = overview.tabs[0]
    card = next(each for each in tab.questions if "fct_returns" in each.query)
    more = card.model_copy(update={"query": card.query.replace("fct_returns", "fct_refunds")})
    changed = overview.model_copy(update={"tabs": (tab.model_copy(update={"cards": (more,)}),)})
    before, after = exposed((overview, *others)), exposed((changed, *others))
    assert "ref('fct_refunds')" in after.pop(overview.key)["depends_on"]
    assert "ref('fct_refunds')" not in before.pop(overview.key)["depends_on"]
    assert after == before


def test_the_order_of_the_navigation_does_not_change_the_text() -> None:
    dashboards = load_dashboards(DASHBOARDS)
    assert exposures_text(dashboards[::-1]) == exposures_text(dashboards)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        pytest.param(
            "label: Customers",
            "label: Clients",
            "line 5 is `    label: Clients` and should be `    label: Customers`",
            id="changed by hand",
        ),
        pytest.param(
            "      - ref('fct_weekly_sales_inventory')\n",
            "",
            "line 39 is nothing and should be `      - ref('fct_weekly_sales_inventory')`",
            id="cut off",
        ),
        pytest.param(
            "inventory')\n",
            "inventory')\n  - name: old\n",
            "line 40 is `  - name: old` and should be nothing",
            id="an exposure too many",
        ),
    ],
)
def test_what_differs_is_named_with_its_line(project: Path, old: str, new: str, what: str) -> None:
    file = exposures_file(project)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        check_exposures(load_dashboards(DASHBOARDS), project)
    assert caught.value.what == f"{file} is not what the dashboards say: {what}"
    assert caught.value.next_command == "floe dashboards exposures, and commit the file"


def test_a_missing_file_is_named(project: Path) -> None:
    exposures_file(project).unlink()
    with pytest.raises(ConfigurationError, match="there is no such file"):
        check_exposures(load_dashboards(DASHBOARDS), project)
