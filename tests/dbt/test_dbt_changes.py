"""A day of changes in the raw layer, then the next builds: history, restated facts, refused bad rows."""

from __future__ import annotations

from collections import Counter

import pytest
from changed_company import (
    AMENDED,
    BAD,
    DEARER,
    DELETED,
    ENDED,
    EVENING,
    EVER,
    FAR,
    GOOD,
    LATE,
    LONE,
    MORNING,
    MOVED,
    NEW_HOME,
    RECOVERED,
    TOO_OLD,
)
from dbt_stages import DbtProject, Stage

pytestmark = pytest.mark.thorough


def promotion_versions(stage: Stage, promotion: int) -> list[tuple[object, ...]]:
    """Return the versions of a promotion: cost, valid_from, valid_to, is_current, is_deleted."""
    return stage.query(
        "select promotion_cost::varchar, valid_from::varchar, valid_to::varchar, is_current, is_deleted"
        f" from build.dim_promotions_history where promotion_sk = {promotion} order by valid_from"
    )


def versions(stage: Stage, customer: int, *attributes: str) -> list[tuple[object, ...]]:
    """Return the versions of a customer: attributes, valid_from, valid_to, is_current, is_deleted."""
    validity = ("valid_from::varchar", "valid_to::varchar", "is_current", "is_deleted")
    return stage.query(
        f"select {', '.join(attributes + validity)} from build.dim_customers_history"
        f" where customer_sk = {customer} order by valid_from"
    )


def test_a_move_makes_two_versions_that_touch_at_the_change_time(second: Stage, changed: Stage) -> None:
    [(old_home, *_)] = versions(second, MOVED, "address_sk")
    moved = "2003-01-03 10:00:00"
    assert versions(changed, MOVED, "address_sk") == [
        (old_home, EVER, moved, False, False),
        (NEW_HOME, moved, FAR, True, False),
    ]


def test_a_change_of_the_address_alone_makes_a_version_of_the_customer(second: Stage, changed: Stage) -> None:
    renamed = "2003-01-03 11:00:00"
    [(old_city, *_)] = versions(second, LONE, "city")
    assert versions(changed, LONE, "city") == [
        (old_city, EVER, renamed, False, False),
        ("Newtown", renamed, FAR, True, False),
    ]


def test_a_move_that_is_read_after_a_later_change_of_the_address_corrects_the_current_version(
    changed: Stage, mended: Stage
) -> None:
    [first, (_, *last)] = versions(changed, LONE, "address_sk")
    assert versions(mended, LONE, "address_sk") == [first, (NEW_HOME, *last)]


def test_a_column_that_differs_at_the_same_change_time_is_amended_without_a_new_version(
    second: Stage, changed: Stage
) -> None:
    assert versions(second, AMENDED, "last_name") != versions(changed, AMENDED, "last_name")
    assert versions(changed, AMENDED, "last_name") == [("Amended", EVER, FAR, True, False)]


def test_a_repair_older_than_the_raw_row_changes_nothing(second: Stage, changed: Stage) -> None:
    assert versions(changed, GOOD, "last_name") == versions(second, GOOD, "last_name")


def test_a_delete_closes_the_last_version_just_after_the_latest_change(changed: Stage) -> None:
    noticed = "2003-01-03 11:00:00.000001"
    assert versions(changed, DELETED) == [
        (EVER, noticed, False, False),
        (noticed, FAR, True, True),
    ]
    assert changed.query(
        f"select is_deleted, count(*) from build.dim_customers where customer_sk = {DELETED} group by 1"
    ) == [(True, 1)]


def test_sales_of_a_deleted_customer_keep_their_customer(second: Stage, changed: Stage) -> None:
    sales = (
        f"select sale_key, customer_version_key from build.fct_sales where customer_sk = {DELETED} order by 1"
    )
    assert changed.query(sales) == second.query(sales)
    assert len(changed.query(sales)) > 0


def test_a_sale_has_the_version_that_was_valid_when_it_was_made(changed: Stage) -> None:
    homes = changed.query(
        f"""
        select order_number, address_sk = {NEW_HOME}
        from build.fct_sales inner join build.dim_customers_history using (customer_version_key)
        where sales_channel = 'catalog' and order_number in ({LATE}, {MORNING}, {EVENING}) order by 1
        """
    )
    assert homes == [(LATE, False), (MORNING, False), (EVENING, True)]


def test_a_promotion_without_change_time_changes_at_the_latest_change_that_the_source_tells_of(
    second: Stage, changed: Stage
) -> None:
    latest = "2003-01-03 20:00:00"
    [(old_cost, *_)] = promotion_versions(second, DEARER)
    assert promotion_versions(changed, DEARER) == [
        (old_cost, EVER, latest, False, False),
        ("4321.00", latest, FAR, True, False),
    ]


def test_a_deleted_promotion_stays_and_is_marked(changed: Stage) -> None:
    assert [row[1:] for row in promotion_versions(changed, ENDED)] == [
        (EVER, "2003-01-03 20:00:00.000001", False, False),
        ("2003-01-03 20:00:00.000001", FAR, True, True),
    ]
    assert changed.query(
        f"select is_deleted, count(*) from build.dim_promotions where promotion_sk = {ENDED} group by 1"
    ) == [(True, 1)]


def test_a_promotion_that_changes_again_while_the_source_has_not_moved_on_has_no_empty_version(
    changed: Stage, mended: Stage
) -> None:
    [first, last] = promotion_versions(changed, DEARER)
    assert promotion_versions(mended, DEARER) == [first, ("5000.00", *last[1:])]


def test_a_promotion_that_was_not_deleted_after_all_has_the_old_history_again(
    second: Stage, mended: Stage
) -> None:
    assert promotion_versions(mended, ENDED) == promotion_versions(second, ENDED)


def test_late_corrected_recovered_and_deleted_sales_are_in_the_mart(second: Stage, changed: Stage) -> None:
    keys = "select sale_key from build.fct_sales"
    added = set(changed.query(keys)) - set(second.query(keys))
    removed = set(second.query(keys)) - set(changed.query(keys))
    last = second.query(
        "select 'web-' || ws_order_number || '-' || ws_item_sk from raw_erp.web_sales"
        " order by ws_order_number desc, ws_item_sk desc limit 1"
    )
    assert sorted(int(key.split("-")[1]) for (key,) in added) == [LATE, MORNING, EVENING, RECOVERED]
    assert list(removed) == last
    assert changed.query("select count(*) from build.fct_sales where gross_sales_amount = 12345.67") == [(1,)]


def test_only_the_sales_that_changed_are_written(second: Stage, changed: Stage) -> None:
    """Four new ones and one corrected; the delete of one, and of the corrected one's old row."""
    changes = Counter[str]()
    for (kind, _), count in changed.changes("build.fct_sales", since=second).items():
        changes["written" if kind in ("insert", "update_postimage") else "removed"] += count
    assert changes == {"written": 5, "removed": 2}


@pytest.mark.parametrize("table", ["build.fct_inventory_weekly", "build.fct_weekly_sales_inventory"])
def test_only_the_weeks_that_changed_are_written(second: Stage, changed: Stage, table: str) -> None:
    weeks = {str(week) for _, week in changed.changes(table, since=second, column="week_start_date")}
    assert {"2002-12-23", "2002-12-30"} <= weeks
    assert len(weeks) <= (2 if table == "build.fct_inventory_weekly" else 6)


def test_the_daily_mart_restates_the_day_of_a_late_sale(second: Stage, changed: Stage) -> None:
    day = (
        "select orders, gross_sales_amount from build.mart_executive_daily"
        " where date = date '2000-02-29' and sales_channel = 'catalog'"
    )
    [(late,)] = changed.query(f"select gross_sales_amount from build.fct_sales where order_number = {LATE}")
    [(orders, gross)] = second.query(day)
    assert changed.query(day) == [(orders + 1, gross + late)]


def test_the_last_week_is_whole_when_its_days_are_over_and_counts_are_replaced(
    second: Stage, changed: Stage
) -> None:
    week = "from build.fct_weekly_sales_inventory where week_start_date"
    stock = f"select quantity_on_hand {week} = date '2002-12-23' and item_sk = 7"
    partial = f"select distinct is_partial_week {week} = date '2002-12-30'"
    counted = f"select count(quantity_on_hand) > 0 {week} = date '2002-12-30'"
    assert changed.query(stock) == [(777,)]
    assert second.query(stock) != [(777,)]
    assert (second.query(partial), changed.query(partial)) == ([(True,)], [(True,)])
    assert (second.query(counted), changed.query(counted)) == ([(False,)], [(True,)])


@pytest.mark.parametrize(
    "test",
    [
        pytest.param("crm_customers_email_looks_like_one", id="an impossible e-mail address"),
        pytest.param("crm_customers_plausible", id="an impossible year of birth"),
        pytest.param("crm_customers_references_exist", id="an address that does not exist"),
        pytest.param("crm_customer_addresses_one_row_per_key", id="two rows of one key"),
        pytest.param("erp_items_plausible", id="a negative price"),
    ],
)
def test_a_bad_row_fails_a_test_that_says_so(refused: Stage, test: str) -> None:
    assert refused.outcome.returncode == 1
    assert test in refused.outcome.named("fail")


def test_bad_rows_never_reach_the_history_nor_the_marts(changed: Stage, refused: Stage) -> None:
    assert {"snp_customers", "dim_customers_history", "fct_sales"} <= refused.outcome.named("skipped")
    assert len(refused.outcome.named("fail", "error")) == 5
    assert refused.contents("snapshots", "build") == changed.contents("snapshots", "build")


def test_a_mended_row_leaves_no_trace_of_the_bad_one(mended: Stage) -> None:
    emails = [row[0] for row in versions(mended, BAD, "email_address")]
    assert emails[-1] == "good@example.com"
    assert "nonsense" not in emails
    assert 19 not in [row[0] for row in versions(mended, TOO_OLD, "birth_year")]
    assert [row[0] for row in versions(mended, GOOD, "last_name")][-1] == "Fine"


def test_a_customer_who_was_not_deleted_after_all_has_the_old_history_again(
    second: Stage, mended: Stage
) -> None:
    assert versions(mended, DELETED, "customer_version_key") == versions(
        second, DELETED, "customer_version_key"
    )


def test_an_unusually_small_load_warns_and_its_numbers_are_kept(mended: Stage, unusual: Stage) -> None:
    assert (unusual.outcome.returncode, unusual.outcome.named("fail", "error")) == (0, set())
    assert unusual.query("select table_name, row_count from test_failures.loads_are_of_usual_size") == [
        ("stg_crm__customers", 10)
    ]


def test_a_table_that_has_been_without_new_rows_for_unusually_long_warns(unusual: Stage) -> None:
    assert unusual.query(
        "select table_name, last_loaded_on::varchar, longest_days_between"
        " from test_failures.loads_come_as_usual"
    ) == [("stg_crm__customers", "2003-01-10", 1)]


def test_only_what_fails_leaves_rows_until_it_passes_again(refused: Stage, mended: Stage) -> None:
    def kept(stage: Stage) -> set[str]:
        tables = "select table_name from information_schema.tables where table_schema = 'test_failures'"
        return {name for (name,) in stage.query(tables)}

    assert kept(refused) == refused.outcome.named("fail", "warn")
    assert refused.query("select email_address from test_failures.crm_customers_email_looks_like_one") == [
        ("nonsense",)
    ]
    assert kept(mended) == mended.outcome.named("fail", "warn") == set()


def test_freshness_of_a_source_is_judged_by_when_its_rows_were_read(
    project: DbtProject, unusual: Stage
) -> None:
    outcome = project.run("source", "freshness", "--select", "source:crm")
    assert outcome.returncode == 0, outcome.output
    assert "WARN freshness of crm.customer " in outcome.output
    assert "PASS freshness of crm.customer_address " in outcome.output
