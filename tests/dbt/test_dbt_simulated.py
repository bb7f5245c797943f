"""Simulated days: history and marts equal, row by row, what short SQL derives from the event log."""

from __future__ import annotations

import itertools

import pytest
from company import Company
from dbt_stages import DbtProject
from simulated_runs import MARTS, Run, run_after

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("mart", MARTS)
def test_what_is_built_of_the_untouched_sample_equals_short_sql(untouched: Run, mart: str) -> None:
    assert untouched.differences(mart) == {}


@pytest.mark.parametrize("mart", MARTS)
def test_three_days_without_their_stock_file_equal_the_event_log(three_days: Run, mart: str) -> None:
    assert three_days.differences(mart) == {}


@pytest.mark.parametrize("mart", MARTS)
def test_a_run_five_days_later_with_a_file_delivered_twice_equals_the_event_log(
    eight_days: Run, mart: str
) -> None:
    assert eight_days.differences(mart) == {}


def test_what_no_day_has_changed_is_not_built_again(three_days: Run, untouched: Run) -> None:
    first, second = (set(run.stage.outcome.named("success")) for run in (untouched, three_days))
    assert {"fct_sales", "dim_warehouses", "int_sales_unioned"} <= first
    assert "fct_sales" in second and not second & {"dim_warehouses", "dim_dates", "int_sales_unioned"}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("sales/fct_sales.sql", "ducklake_table_changes("),
        ("sales/fct_sales.yml/fct_sales_one_row_per_grain.sql", "ducklake_table_changes("),
        ("inventory/fct_inventory_weekly.sql", "week_start_date in (cast('"),
        (
            "inventory/fct_inventory_weekly.yml/fct_inventory_weekly_one_row_per_grain.sql",
            "ducklake_table_changes(",
        ),
        ("inventory/fct_weekly_sales_inventory.sql", "week_start_date in (cast('"),
        (
            "inventory/fct_weekly_sales_inventory.yml/fct_weekly_sales_inventory_one_row_per_grain.sql",
            "ducklake_table_changes(",
        ),
    ],
)
def test_a_later_run_looks_only_at_what_has_changed(
    company_project: DbtProject, eight_days: Run, node: str, words: str
) -> None:
    compiled = company_project.folder / "local" / "compiled" / "floe" / "models" / "marts" / node
    assert words in compiled.read_text()
    assert "where true" not in compiled.read_text()


def test_only_the_missing_week_is_warned_of(eight_days: Run) -> None:
    assert eight_days.stage.outcome.named("warn", "fail", "error", "skipped") == {
        "stock_is_counted_every_week"
    }


def test_every_case_has_happened(eight_days: Run) -> None:
    history = "select customer_sk from build.dim_customers_history"
    for case in (
        f"{history} where is_deleted",
        "select sale_key from build.fct_sales where customer_version_key = '-1'",
        "select sale_key from build.fct_sales where return_quantity > 0 and updated_at < '2003-01-02'",
        "select sale_key from build.fct_sales where sold_date < '2003-01-02' and updated_at > '2003-01-03'",
        "select promotion_sk from build.dim_promotions where is_deleted",
        "select promotion_sk from build.dim_promotions_history where not is_current and not is_deleted",
        "from build.fct_sales inner join build.dim_customers using (customer_sk) where is_deleted",
        "from raw_erp.__floe_repairs_web_sales where _floe_repair_action = 'upsert'",
        "from raw_erp.__floe_repairs_catalog_sales where _floe_repair_action = 'upsert'",
        # Of a customer who was gone in the run before.
        """
        select return_key from build.fct_returns inner join build.dim_customers_history using (customer_sk)
        where is_deleted and valid_from < '2003-01-05' and returned_date >= '2003-01-05'
        """,
        """
        select sale_key from build.fct_sales inner join build.dim_customers_history
        using (customer_version_key) where not is_current
        """,
    ):
        assert eight_days.query(f"{case} limit 1"), case


SEEN_TWICE = """
    from truth.states as now inner join truth.states as before
        on now.customer_sk = before.customer_sk and now.run = before.run + 1
"""
LATEST_READ = "select max(changed_at) from truth.states as known where known.run"


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            f"""
            {SEEN_TWICE}
            where now.changed_at > before.changed_at and now.changed_at < ({LATEST_READ} < now.run)
            """,
            id="a version that began before a change that an earlier run has read",
        ),
        pytest.param(
            f"""
            {SEEN_TWICE}
            where now.changed_at = before.changed_at
                and (now.email_address, now.zip_code) is distinct from (before.email_address, before.zip_code)
            """,
            id="another value in a version that an earlier run has read",
        ),
        pytest.param(
            f"""
            {SEEN_TWICE}
            inner join truth.fct_sales as sales
                on sales.customer_sk = now.customer_sk and sales.version_from = now.changed_at
            where now.changed_at > before.changed_at and sales.updated_at < ({LATEST_READ} < now.run)
            """,
            id="a version that began before a sale of an earlier run",
        ),
    ],
)
def test_changes_of_customers_are_committed_late(eight_days: Run, case: str) -> None:
    assert eight_days.query(f"select now.customer_sk {case} limit 1")


def test_every_mart_is_compared(company_project: DbtProject, untouched: Run) -> None:
    nodes = company_project.manifest()["nodes"].values()
    assert set(MARTS) == {
        node["name"] for node in nodes if node["fqn"][1] == "marts" and node["resource_type"] == "model"
    }


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_sixty_days_with_irregular_runs_equal_the_event_log_after_each(
    company: Company, company_project: DbtProject, eight_days: Run
) -> None:
    """The week of 23 January never arrives; others come twice, one of them weeks later."""
    ends = (8, 9, 11, 18, 19, 33, 34, 35, 47, 60)
    again = {19: ("2003-01-16",), 35: ("2003-01-16", "2003-01-30"), 60: ("2003-02-27",)}
    for before, end in itertools.pairwise(ends):
        run = run_after(
            company, company_project, end - before, lost=["01-02", "01-23"], again=again.get(end, ())
        )
        for mart in MARTS:
            assert run.differences(mart) == {}, (end, mart)
        warned = run.stage.outcome.named("warn", "fail", "error", "skipped")
        assert warned == {"stock_is_counted_every_week"}, (end, run.stage.outcome.output)
    many = "select customer_sk from build.dim_customers_history group by 1 having count(*) > 3"
    assert run.stage.query(f"{many} limit 1")
