"""Changes of the raw layer that reach the large marts, each with the rows that they reach."""

from __future__ import annotations

from dataclasses import dataclass

from changed_company import NEW_HOME, at, copied, new_sale, repair, repairs

SALES, STOCK, WEEKLY = MARTS = ("fct_sales", "fct_inventory_weekly", "fct_weekly_sales_inventory")
# An address of its own for each customer, none of them in the sample.
MOVED, UNKNOWN = 30, 500_000
OLD_SALE, EARLY_SALE, NEWEST_SALE = 900_101, 900_102, 900_103
LAST_COUNT = 2452635


@dataclass(frozen=True)
class Case:
    """A change of the raw layer, and the rows of a mart that are others after it."""

    statement: str
    mart: str
    rows: str


def of_order(channel: str, order: int) -> str:
    """Return the condition for the lines of an order."""
    return f"sales_channel = '{channel}' and order_number = {order}"


ROWS = {
    "a customer's version arrives under an old sale": Case(
        f"update raw_crm.customer set c_current_addr_sk = {NEW_HOME}, updated_at = {at(4, 10)}"
        f" where c_customer_sk = {MOVED}",
        SALES,
        of_order("catalog", OLD_SALE),
    ),
    "a customer becomes known after the sale": Case(
        "insert into raw_crm.customer "
        + copied("raw_crm.customer", "c_customer_sk = 40", c_customer_sk=str(UNKNOWN), c_customer_id="'X'"),
        SALES,
        of_order("catalog", EARLY_SALE),
    ),
    "a line is deleted": Case(
        "delete from raw_erp.web_sales where (ws_order_number, ws_item_sk) ="
        " (select (ws_order_number, ws_item_sk) from raw_erp.web_sales where ws_order_number = 60 limit 1)",
        SALES,
        of_order("web", 60),
    ),
    "an order is deleted": Case(
        "delete from raw_erp.catalog_sales where cs_order_number = 5", SALES, of_order("catalog", 5)
    ),
    "the only sale of the newest week is deleted, so that fewer days of the week before are observed": Case(
        f"delete from raw_erp.catalog_sales where cs_order_number = {NEWEST_SALE}",
        WEEKLY,
        "week_start_date = date '2003-01-06' and quantity_sold > 0",
    ),
    "a line moves to another day": Case(
        "update raw_erp.catalog_sales set cs_sold_date_sk = cs_sold_date_sk + 70 where cs_order_number = 20",
        SALES,
        of_order("catalog", 20),
    ),
    "a line moves to no day": Case(
        "update raw_erp.catalog_sales set cs_sold_date_sk = null where cs_order_number = 10",
        SALES,
        of_order("catalog", 10),
    ),
    "a line moves to another warehouse": Case(
        "update raw_erp.catalog_sales set cs_warehouse_sk = 2 where cs_order_number = 35",
        WEEKLY,
        "warehouse_sk = 2",
    ),
    "a line moves to no warehouse": Case(
        "update raw_erp.catalog_sales set cs_warehouse_sk = null where cs_order_number = 30",
        SALES,
        of_order("catalog", 30),
    ),
    "a line loses its quantity": Case(
        "update raw_erp.web_sales set ws_quantity = null where ws_order_number = 40",
        SALES,
        of_order("web", 40),
    ),
    "a repair of a line is added": Case(
        repair(
            "raw_erp.web_sales",
            "upsert",
            copied("raw_erp.web_sales", "ws_order_number = 44", ws_ext_sales_price="12345.67"),
        ),
        SALES,
        of_order("web", 44),
    ),
    "a repair takes a line out": Case(
        repair("raw_erp.web_sales", "delete", "from raw_erp.web_sales where ws_order_number = 50"),
        SALES,
        of_order("web", 50),
    ),
    "a repair of a line is withdrawn": Case(
        "delete from raw_erp.__floe_repairs_web_sales where ws_order_number = 70", SALES, of_order("web", 70)
    ),
    "a repair takes a return out": Case(
        repair(
            "raw_accounting.web_returns",
            "delete",
            "from raw_accounting.web_returns where wr_order_number = 34",
        ),
        SALES,
        of_order("web", 34),
    ),
    "a return is added": Case(
        "insert into raw_accounting.catalog_returns "
        + copied(
            "raw_accounting.catalog_returns",
            "cr_return_amount > 0",
            cr_order_number="1",
            cr_item_sk="(select min(cs_item_sk) from raw_erp.catalog_sales where cs_order_number = 1)",
        ),
        SALES,
        of_order("catalog", 1),
    ),
    "a return is removed": Case(
        "delete from raw_accounting.catalog_returns where cr_order_number = 21",
        SALES,
        of_order("catalog", 21),
    ),
    "a return changes": Case(
        "update raw_accounting.web_returns set wr_return_amt = 1.23 where wr_order_number = 36",
        SALES,
        of_order("web", 36),
    ),
    "a day of stock is deleted": Case(
        "delete from raw_files.inventory where inv_date_sk = 2452621",
        STOCK,
        "counted_date = date '2002-12-12'",
    ),
    "the stock of an item is deleted": Case(
        f"delete from raw_files.inventory where inv_date_sk = {LAST_COUNT} and inv_item_sk = 7",
        WEEKLY,
        "week_start_date = date '2002-12-23' and item_sk = 7",
    ),
    "a week is counted twice": Case(
        "insert into raw_files.inventory select * replace (2452601 as inv_date_sk,"
        " 5 as inv_quantity_on_hand, 'twice' as _file_id)"
        " from raw_files.inventory where inv_date_sk = 2452600 and inv_item_sk < 50",
        STOCK,
        "week_start_date = date '2002-11-18'",
    ),
    "a count comes again without its numbers": Case(
        "insert into raw_files.inventory select * replace (null as inv_quantity_on_hand,"
        " 'again' as _file_id, timestamptz '2004-01-01' as _loaded_at)"
        " from raw_files.inventory where inv_date_sk = 2452593 and inv_item_sk < 50",
        WEEKLY,
        "week_start_date = date '2002-11-11'",
    ),
}
TIME = Case(
    "update raw_erp.time_dim set t_time = t_time + 1 where t_time_sk = 3600",
    SALES,
    of_order("catalog", OLD_SALE),
)
DAY = Case(
    f"update raw_erp.date_dim set d_date = d_date + interval 7 day where d_date_sk = {LAST_COUNT}",
    STOCK,
    "week_start_date = date '2002-12-30'",
)

# What the changes need to have been there before.
BEFORE = (
    new_sale(OLD_SALE, "2003-01-05", 3600, customer=MOVED),
    new_sale(EARLY_SALE, "2003-01-06", 3600, customer=UNKNOWN),
    new_sale(NEWEST_SALE, "2003-01-15", 3600, customer=40),
    repairs("raw_erp.web_sales"),
    repairs("raw_accounting.web_returns"),
    repair("raw_erp.web_sales", "delete", "from raw_erp.web_sales where ws_order_number = 70"),
)
