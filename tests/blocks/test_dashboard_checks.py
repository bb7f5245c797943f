from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from dashboard_marts import create_marts

from blocks.dashboard_checks import CheckedCard, check_dashboards, check_marts, marts_read
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dashboard_pages import CardUnanswered, Result, on_cursor


@pytest.fixture
def marts() -> Iterator[duckdb.DuckDBPyConnection]:
    """Empty marts, as dbt's contracts promise them."""
    with duckdb.connect() as connection:
        create_marts(connection)
        yield connection


def problems(connection: duckdb.DuckDBPyConnection) -> list[CheckedCard]:
    checked = check_dashboards(load_dashboards(DASHBOARDS), on_cursor(connection))
    return [each for each in checked if each.problem]


def test_every_shipped_card_resolves_on_the_marts_that_dbt_promises(marts: duckdb.DuckDBPyConnection) -> None:
    assert problems(marts) == []


def test_a_renamed_column_is_named_with_its_cards_and_their_owner(marts: duckdb.DuckDBPyConnection) -> None:
    marts.execute("alter table marts.dim_customers_history rename column credit_rating to rating")
    found = problems(marts)
    assert "credit_changes" in {each.card for each in found}
    assert {each.dashboard for each in found} == {"customers"}
    assert {each.owner for each in found} == {"Customer Operations <customer-operations@example.com>"}
    assert all("credit_rating" in (each.problem or "") for each in found)


def test_a_column_that_only_a_filter_uses_is_checked_too(marts: duckdb.DuckDBPyConnection) -> None:
    marts.execute("alter table marts.dim_warehouses rename column warehouse_name to title")
    assert {"filter warehouse", "units_on_hand"} <= {each.card for each in problems(marts)}


def test_a_dropped_mart_is_a_problem_of_every_card_that_reads_it(marts: duckdb.DuckDBPyConnection) -> None:
    marts.execute("drop table marts.fct_returns")
    found = {each.card for each in problems(marts)}
    assert {"return_rate_by_month", "lifetime_value", "category_table"} <= found
    assert "gross_sales_by_month" not in found


def test_a_mart_that_dbt_does_not_have_is_a_problem_of_whatever_reads_it() -> None:
    dashboards = load_dashboards(DASHBOARDS)
    marts = {mart for each in dashboards for _, read in marts_read(each) for mart in read}
    assert check_marts(dashboards, marts) == []
    [found] = check_marts(dashboards, marts - {"fct_inventory_weekly"})
    owner = "Merchandising <merchandising@example.com>"
    assert found == CheckedCard("inventory", "data_as_of", owner, (), "dbt has no mart fct_inventory_weekly")
    of_cards = {each.card for each in check_marts(dashboards, marts - {"dim_customers_history"})}
    assert "changes_by_week" in of_cards
    assert "best_customers" not in of_cards


def test_a_column_that_the_chart_draws_must_be_in_the_answer(marts: duckdb.DuckDBPyConnection) -> None:
    [overview, *_] = load_dashboards(DASHBOARDS)
    tab = overview.tabs[1]
    card = tab.questions[0]
    renamed = card.model_copy(update={"query": card.query.replace("net_sales_amount", "net_amount")})
    changed = overview.model_copy(update={"tabs": (tab.model_copy(update={"cards": (renamed,)}),)})
    [found] = [each for each in check_dashboards([changed], on_cursor(marts)) if each.problem]
    assert found.problem == "the query does not return net_sales_amount"


def test_a_lost_connection_is_not_a_fault_of_a_card() -> None:
    def lost(sql: str) -> Result:
        raise ConnectionResetError("the warehouse went away")

    with pytest.raises(CardUnanswered, match="the warehouse went away"):
        check_dashboards(load_dashboards(DASHBOARDS), lost)
