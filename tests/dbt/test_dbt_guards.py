"""Each test that dbt runs of several tables at once fails when what it guards is broken."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from dbt_stages import PROJECT, DbtProject

from lambda_csv_loader.ducklake import connect

pytestmark = pytest.mark.thorough

SALES, RETURNS, WEEKLY = "build.fct_sales", "build.fct_returns", "build.fct_weekly_sales_inventory"
DAILY, PROMOTIONS = "build.mart_executive_daily", "build.fct_promotion_performance"
LIFETIME, COHORTS = "build.mart_customer_lifetime_value", "build.mart_customer_cohorts"
CUSTOMERS, OF_PROMOTIONS = "build.dim_customers_history", "build.dim_promotions_history"
BUYER = f"(select max(customer_sk) from {SALES})"
AMOUNTS_OF_SALES = (
    "quantity wholesale_cost list_price sales_price discount_amount gross_sales_amount wholesale_amount"
    " coupon_amount tax_amount shipping_amount net_paid_amount net_profit_amount"
)
AMOUNTS_OF_RETURNS = (
    "return_quantity return_amount return_tax_amount fee_amount return_shipping_amount net_loss_amount"
)


def one_row(table: str, condition: str = "true") -> str:
    """Return the condition for one row of a table."""
    return f"rowid = (select min(rowid) from {table} where {condition})"


def off_by_a_cent(table: str, columns: str) -> tuple[str, ...]:
    """Return a statement per column that makes one value a cent more, or a unit of what is counted."""
    return tuple(
        f"update {table} set {column} = {column} + {1 if 'quantity' in column else 0.01}"
        f" where {one_row(table, f'{column} is not null')}"
        for column in columns.split()
    )


# By the test: statements of which each by itself breaks what it guards.
BREAKS = {
    "aggregates_reconcile_to_facts": (
        *off_by_a_cent(WEEKLY, "quantity_sold gross_sales_amount"),
        *off_by_a_cent(DAILY, "gross_sales_amount return_amount net_sales_amount net_profit_amount"),
        *off_by_a_cent(PROMOTIONS, "gross_sales_amount net_profit_amount"),
        *off_by_a_cent(LIFETIME, "gross_sales_amount return_amount net_profit_amount"),
        *off_by_a_cent(COHORTS, "gross_sales_amount"),
        *off_by_a_cent(SALES, "return_amount"),
        *(f"delete from {mart} where {one_row(mart)}" for mart in (LIFETIME, PROMOTIONS)),
    ),
    "customers_are_all_tracked": (
        "insert into raw_crm.income_band from raw_crm.income_band where ib_income_band_sk = 5",
        "create or replace view intermediate.int_customers_tracked as"
        " from snapshots.snp_customers where customer_sk <> 5",
    ),
    "customers_have_not_vanished": (
        "delete from raw_crm.customer where c_customer_sk % 4 = 0",
        "delete from raw_crm.customer",
    ),
    "every_sale_has_one_customer_version": (
        f"delete from {CUSTOMERS} where customer_sk = {BUYER}",
        f"insert into {CUSTOMERS} from {CUSTOMERS} where customer_sk = {BUYER}",
        f"update {SALES} set customer_version_key = '-1' where {one_row(SALES, 'customer_sk <> -1')}",
    ),
    "history_is_up_to_date": (
        "update raw_crm.customer set c_last_name = 'Unheard' where c_customer_sk = 5",
        "update snapshots.snp_customers set city = 'Oldtown' where customer_sk = 5",
        "update snapshots.snp_promotions set promotion_cost = 0.01 where promotion_sk = 1",
        "delete from snapshots.snp_customers where customer_sk = 500",
    ),
    "history_keeps_every_version": (
        f"delete from {CUSTOMERS} where customer_sk = 500",
        f"delete from {OF_PROMOTIONS} where promotion_sk = 1",
        f"update {CUSTOMERS} set valid_to = timestamp '2002-01-01' where customer_sk = 500",
        f"update {OF_PROMOTIONS} set promotion_sk = 424242 where promotion_sk = 1",
        "delete from snapshots.snp_customers where customer_sk = 500",
    ),
    "promotions_have_not_vanished": ("delete from intermediate.int_promotions_tracked",),
    # Ten loads, a day each, the last of a tenth of the usual rows.
    "loads_are_of_usual_size": (
        "update raw_crm.customer set _airbyte_extracted_at = timestamptz '2003-01-01 02:00:00+00'"
        " + to_days((case when c_customer_sk % 100 = 9 then 9 else c_customer_sk % 9 end)::integer)",
    ),
    # A load a day until three days ago.
    "loads_come_as_usual": (
        "update raw_crm.customer_address set _airbyte_extracted_at ="
        " now() - to_days((3 + ca_address_sk % 10)::integer)",
    ),
    "returns_reconcile_to_staging": (
        *off_by_a_cent(RETURNS, AMOUNTS_OF_RETURNS),
        f"delete from {RETURNS} where {one_row(RETURNS, 'return_amount is null')}",
        f"update {RETURNS} set sales_channel = 'shop' where sales_channel = 'web'",
    ),
    "sales_keep_their_customer": (
        f"update {SALES} set customer_sk = -1 where {one_row(SALES, 'customer_sk <> -1')}",
        f"update {SALES} set customer_sk = 7 where {one_row(SALES, 'customer_sk not in (-1, 7)')}",
    ),
    "sales_reconcile_to_staging": (
        *off_by_a_cent(SALES, AMOUNTS_OF_SALES),
        f"delete from {SALES} where {one_row(SALES, 'net_paid_amount is null')}",
        f"insert into {SALES} from {SALES} where {one_row(SALES)}",
    ),
    "stock_is_counted_every_week": (
        "delete from build.fct_inventory_weekly where week_start_date = date '2001-06-04'",
    ),
}


@pytest.fixture(scope="module")
def built(own_project: DbtProject) -> DbtProject:
    """The sample, built, and the query of each test as dbt runs it."""
    outcome = own_project.run("build", "--exclude-resource-type", "test", "unit_test")
    assert outcome.returncode == 0, outcome.output
    outcome = own_project.run("compile", "--select", "test_type:singular")
    assert outcome.returncode == 0, outcome.output
    return own_project


@pytest.fixture(scope="module")
def lake(built: DbtProject) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake, in which everything is taken back."""
    with connect(built.lake) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def found(lake: duckdb.DuckDBPyConnection, project: DbtProject, test: str, *statements: str) -> bool:
    """Return whether a test finds rows after statements, and take these back."""
    query = project.folder / "local" / "compiled" / "floe" / "tests" / f"{test}.sql"
    lake.execute("begin")
    try:
        for statement in statements:
            lake.execute(statement)
        return bool(lake.execute(f"from ({query.read_text()}) limit 1").fetchall())
    finally:
        lake.execute("rollback")


def test_every_singular_test_has_its_case() -> None:
    assert {file.stem for file in (PROJECT / "tests").glob("*.sql")} == BREAKS.keys()


@pytest.mark.parametrize("test", BREAKS)
def test_what_a_singular_test_guards_is_broken_and_it_says_so(
    built: DbtProject, lake: duckdb.DuckDBPyConnection, test: str
) -> None:
    assert not found(lake, built, test)
    assert [broken for broken in BREAKS[test] if not found(lake, built, test, broken)] == []


def test_dbt_fails_or_warns_of_all_that_is_broken_at_once(
    built: DbtProject, lake: duckdb.DuckDBPyConnection
) -> None:
    """Last: the lake stays as it is then."""
    built.change(*(breaks[0] for breaks in BREAKS.values()))
    outcome = built.run("test", "--select", "test_type:singular")
    assert outcome.named("warn") == {
        "loads_are_of_usual_size",
        "loads_come_as_usual",
        "stock_is_counted_every_week",
    }
    assert outcome.named("fail") == BREAKS.keys() - outcome.named("warn")
