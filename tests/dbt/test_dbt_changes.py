"""A day of changes in the raw layer, then the next builds: history, restated facts, refused bad rows."""

from __future__ import annotations

from collections import Counter

import pytest
from dbt_stages import DbtProject, Stage

pytestmark = pytest.mark.thorough

EVER, FAR = "1900-01-01 00:00:00", "9999-12-31 00:00:00"
# LONE is the only customer at an address.
LONE, MOVED, DELETED, AMENDED, BAD, GOOD = 10, 101, 103, 104, 105, 106
TOO_OLD, HOMELESS = 107, 108
DEARER, ENDED = 1, 2
NEW_HOME = 77
LATE, MORNING, EVENING, RECOVERED = 900_001, 900_002, 900_003, 900_004
EXTRACTED = "timestamptz '2003-01-04 02:00:00+00'"


def at(day: int, hour: int = 0) -> str:
    """Return an instant of January 2003 as SQL."""
    return f"timestamptz '2003-01-{day:02} {hour:02}:00:00+00'"


def copied(table: str, condition: str, **replaced: str) -> str:
    """Return a query for one row of a raw table, with some columns replaced."""
    columns = ", ".join(f"{value} as {column}" for column, value in replaced.items())
    return f"select * replace ({columns}) from {table} where {condition} limit 1"


def new_sale(order: int, day: str, second: int, customer: int = MOVED) -> str:
    """Return the statement that adds a catalogue order of one line."""
    row = copied(
        "raw_erp.catalog_sales",
        "cs_net_profit > 0 and cs_quantity > 0",
        cs_order_number=str(order),
        cs_bill_customer_sk=str(customer),
        cs_sold_date_sk=f"(select d_date_sk from raw_erp.date_dim where d_date = date '{day}')",
        cs_ship_date_sk="null",
        cs_sold_time_sk=str(second),
        updated_at=at(3, 20),
        _airbyte_extracted_at=EXTRACTED,
    )
    return f"insert into raw_erp.catalog_sales {row}"


def repairs(table: str) -> str:
    """Return the statement that creates the empty repair table of a raw table."""
    schema, name = table.split(".")
    return f"""
        create table {schema}.__floe_repairs_{name} as
        select *, 'upsert' as _floe_repair_action, {EXTRACTED} as _floe_repaired_at from {table} limit 0
    """


def repair(table: str, action: str, row: str) -> str:
    """Return the statement that adds one repair of a raw table."""
    schema, name = table.split(".")
    return f"insert into {schema}.__floe_repairs_{name} select *, '{action}', {EXTRACTED} from ({row})"


ANY_WEB_SALE = "ws_quantity > 1 and ws_sold_date_sk is not null"


@pytest.fixture(scope="session")
def changed(project: DbtProject, second: Stage) -> Stage:
    """A day later: moves, a delete, late, corrected, recovered and deleted sales, a new stock count."""
    project.change(
        f"update raw_crm.customer set c_current_addr_sk = {NEW_HOME}, updated_at = {at(3, 10)}"
        f" where c_customer_sk = {MOVED}",
        f"update raw_crm.customer_address set ca_city = 'Newtown', updated_at = {at(3, 11)}"
        " where ca_address_sk ="
        f" (select c_current_addr_sk from raw_crm.customer where c_customer_sk = {LONE})",
        repairs("raw_crm.customer"),
        # A repair wins over the raw row of the same change time, not over a later one.
        repair(
            "raw_crm.customer",
            "upsert",
            copied("raw_crm.customer", f"c_customer_sk = {AMENDED}", c_last_name="'Amended'"),
        ),
        repair(
            "raw_crm.customer",
            "upsert",
            copied(
                "raw_crm.customer",
                f"c_customer_sk = {GOOD}",
                c_last_name="'Outdated'",
                updated_at="timestamptz '2002-06-01'",
            ),
        ),
        repair("raw_crm.customer", "delete", f"from raw_crm.customer where c_customer_sk = {DELETED}"),
        new_sale(LATE, "2000-02-29", 3600),
        new_sale(MORNING, "2003-01-03", 9 * 3600),
        new_sale(EVENING, "2003-01-03", 21 * 3600),
        f"update raw_erp.web_sales set ws_ext_sales_price = 12345.67, updated_at = {at(3, 12)}"
        f" where (ws_item_sk, ws_order_number) = (select (ws_item_sk, ws_order_number)"
        f" from raw_erp.web_sales where {ANY_WEB_SALE} order by ws_order_number, ws_item_sk limit 1)",
        repairs("raw_erp.web_sales"),
        repair(
            "raw_erp.web_sales",
            "upsert",
            copied("raw_erp.web_sales", ANY_WEB_SALE, ws_order_number=str(RECOVERED), updated_at=at(1, 5)),
        ),
        repair(
            "raw_erp.web_sales",
            "delete",
            "from raw_erp.web_sales order by ws_order_number desc, ws_item_sk desc limit 1",
        ),
        f"update raw_erp.promotion set p_cost = 4321.00 where p_promo_sk = {DEARER}",
        f"delete from raw_erp.promotion where p_promo_sk = {ENDED}",
        # The count of 26 December comes again with another number, and there is a new week.
        """
        insert into raw_files.inventory select * replace (
            777 as inv_quantity_on_hand, 'again' as _file_id,
            timestamptz '2003-01-03 06:00:00+00' as _loaded_at
        )
        from raw_files.inventory where inv_date_sk = 2452635 and inv_item_sk = 7
        """,
        """
        insert into raw_files.inventory select * replace (
            2452642 as inv_date_sk, 'new' as _file_id,
            timestamptz '2003-01-03 06:00:00+00' as _loaded_at
        )
        from raw_files.inventory where inv_date_sk = 2452635 and _file_id <> 'again'
        """,
    )
    stage = project.build("--exclude-resource-type", "unit_test")
    assert stage.outcome.returncode == 0, stage.outcome.output
    return stage


@pytest.fixture(scope="session")
def refused(project: DbtProject, changed: Stage) -> Stage:
    """Then four bad rows in what the history is taken from, beside one good change, and a bad price."""
    project.change(
        f"update raw_crm.customer set c_email_address = 'nonsense', updated_at = {at(4, 8)}"
        f" where c_customer_sk = {BAD}",
        f"update raw_crm.customer set c_birth_year = 19, updated_at = {at(4, 8)}"
        f" where c_customer_sk = {TOO_OLD}",
        "insert into raw_crm.customer_address "
        + copied("raw_crm.customer_address", "ca_address_sk = 5", ca_city="'Elsewhere'"),
        f"update raw_crm.customer set c_current_addr_sk = 424242, updated_at = {at(4, 8)}"
        f" where c_customer_sk = {HOMELESS}",
        f"update raw_crm.customer set c_last_name = 'Fine', updated_at = {at(4, 8)}"
        f" where c_customer_sk = {GOOD}",
        "update raw_erp.item set i_current_price = -1 where i_item_sk = 9",
    )
    return project.build(
        "--select",
        "stg_crm__customers+ stg_crm__customer_addresses stg_erp__items",
        "--exclude-resource-type",
        "unit_test",
    )


@pytest.fixture(scope="session")
def mended(project: DbtProject, second: Stage, refused: Stage) -> Stage:
    """The bad rows are mended, and the delete turns out to have been none: the row is there unchanged."""
    project.change(
        f"update raw_crm.customer set c_email_address = 'good@example.com', c_birth_year = 1970,"
        f" c_current_addr_sk = 5, updated_at = {at(4, 9)}"
        f" where c_customer_sk in ({BAD}, {TOO_OLD}, {HOMELESS})",
        "delete from raw_crm.customer_address where ca_address_sk = 5 and ca_city = 'Elsewhere'",
        f"delete from raw_crm.__floe_repairs_customer where c_customer_sk = {DELETED}",
        "update raw_erp.item set i_current_price = 1 where i_item_sk = 9",
        f"update raw_erp.promotion set p_cost = 5000.00 where p_promo_sk = {DEARER}",
        "insert into raw_erp.promotion select * from raw_erp.promotion"
        f" at (version => {second.version}) where p_promo_sk = {ENDED}",
    )
    histories = ("+dim_customers_history", "+dim_promotions_history")
    stage = project.build("--select", *histories, "--exclude-resource-type", "unit_test")
    assert stage.outcome.returncode == 0, stage.outcome.output
    return stage


@pytest.fixture(scope="session")
def unusual(project: DbtProject, mended: Stage) -> Stage:
    """Customers came in ten loads of 2003, the last a tenth of the usual; addresses evenly, until today."""
    project.change(
        "update raw_crm.customer set _airbyte_extracted_at = timestamptz '2003-01-01 02:00:00+00'"
        " + to_days((case when c_customer_sk % 100 = 9 then 9 else c_customer_sk % 9 end)::integer)",
        "update raw_crm.customer_address set _airbyte_extracted_at ="
        " now() - to_days((ca_address_sk % 10)::integer)",
    )
    return project.build("--select", "loads_are_of_usual_size", "loads_come_as_usual")


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


def test_a_promotion_that_changes_again_before_the_source_moves_on_has_no_empty_version(
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
