"""TPC-DS in the lake's raw layout, straight from DuckDB's generator: no PostgreSQL source, no sync."""

from __future__ import annotations

import duckdb

SOURCES = {
    "raw_crm": (
        "customer",
        "customer_address",
        "customer_demographics",
        "household_demographics",
        "income_band",
    ),
    "raw_erp": ("item", "promotion", "warehouse", "date_dim", "time_dim", "catalog_sales", "web_sales"),
    "raw_accounting": ("catalog_returns", "web_returns", "reason"),
}
CHANGING = {
    "customer": ("c_customer_sk",),
    "customer_address": ("ca_address_sk",),
    "item": ("i_item_sk",),
    "catalog_sales": ("cs_item_sk", "cs_order_number"),
    "web_sales": ("ws_item_sk", "ws_order_number"),
    "catalog_returns": ("cr_item_sk", "cr_order_number"),
    "web_returns": ("wr_item_sk", "wr_order_number"),
}
EXTRACTED_AT = "timestamptz '2003-01-02 02:00:00+00'"


def load_sample(connection: duckdb.DuckDBPyConnection, scale: float = 0.01) -> None:
    """Generate TPC-DS and write it into the raw schemas of the attached lake, as a first sync leaves it.

    Args:
        connection: has a DuckLake attached as `lake`; the generator's tables live in memory only.
        scale: TPC-DS scale factor, 0.01 is about 21,500 sales.
    """
    connection.execute("attach ':memory:' as generated; use generated; load tpcds")
    connection.execute("call dsdgen(sf => ?)", [scale])
    connection.execute("use lake")
    for schema, tables in SOURCES.items():
        connection.execute(f"create schema if not exists lake.{schema}")
        for table in tables:
            connection.execute(f"create table lake.{schema}.{table} as {_raw_rows(table)}")
    connection.execute("create schema if not exists lake.raw_files")
    connection.execute(
        f"""
        create table lake.raw_files.inventory as
        select
            inv_date_sk, inv_item_sk, inv_warehouse_sk, inv_quantity_on_hand::bigint as inv_quantity_on_hand,
            md5(inv_date_sk::varchar) as _file_id,
            row_number() over (partition by inv_date_sk order by inv_item_sk, inv_warehouse_sk) as _file_row,
            {EXTRACTED_AT} as _loaded_at
        from generated.main.inventory
        """
    )
    connection.execute("detach generated")


def _raw_rows(table: str) -> str:
    """Return the query that gives `table` its change time and Airbyte's columns."""
    changed = ""
    if table in CHANGING:
        key = " || '-' || ".join(f"{column}::varchar" for column in CHANGING[table])
        # Spread over the last day before the sample's clock starts, the same in every run.
        changed = (
            "timestamptz '2003-01-01 00:00:00+00' + to_seconds("
            f"(('0x' || md5({key})[1:6])::bigint) % 86400) as updated_at,"
        )
    return f"""
        select
            *, {changed}
            uuid()::varchar as _airbyte_raw_id, {EXTRACTED_AT} as _airbyte_extracted_at,
            '{{"changes": []}}'::json as _airbyte_meta, 1::bigint as _airbyte_generation_id
        from generated.main.{table}
    """
