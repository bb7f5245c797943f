"""A day of changes in the raw layer, then the next builds; `conftest.py` gives the fixtures to every file."""

from __future__ import annotations

import pytest
from dbt_stages import DbtProject, Stage

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
    """The bad rows are mended, and the delete turns out to have been none: the row is there unchanged.

    A move is read after the change of the address that came later, and the source's clock goes back.
    """
    project.change(
        f"update raw_crm.customer set c_current_addr_sk = {NEW_HOME}, updated_at = {at(3, 10)}"
        f" where c_customer_sk = {LONE}",
        f"update raw_erp.catalog_sales set updated_at = {at(3, 12)}"
        f" where cs_order_number in ({LATE}, {MORNING}, {EVENING})",
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
