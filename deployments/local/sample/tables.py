"""What the sample's databases hold: the one place with their table names and keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

SCHEMA_FOLDER: Final = Path(__file__).parent / "schema"

CLOCK_START: Final = datetime(2003, 1, 2, tzinfo=UTC)
"""The business time at which the generated company stands; TPC-DS sales end about here."""

# In the order in which they can be created: a table stands after those it references.
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "crm": (
        "income_band",
        "household_demographics",
        "customer_demographics",
        "customer_address",
        "customer",
    ),
    "erp": ("date_dim", "time_dim", "item", "warehouse", "promotion", "catalog_sales", "web_sales"),
    "accounting": ("reason", "catalog_returns", "web_returns"),
}

PRIMARY_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "income_band": ("ib_income_band_sk",),
    "household_demographics": ("hd_demo_sk",),
    "customer_demographics": ("cd_demo_sk",),
    "customer_address": ("ca_address_sk",),
    "customer": ("c_customer_sk",),
    "date_dim": ("d_date_sk",),
    "time_dim": ("t_time_sk",),
    "item": ("i_item_sk",),
    "warehouse": ("w_warehouse_sk",),
    "promotion": ("p_promo_sk",),
    "catalog_sales": ("cs_item_sk", "cs_order_number"),
    "web_sales": ("ws_item_sk", "ws_order_number"),
    "reason": ("r_reason_sk",),
    "catalog_returns": ("cr_item_sk", "cr_order_number"),
    "web_returns": ("wr_item_sk", "wr_order_number"),
}

CHANGING: Final[Mapping[str, tuple[str, ...]]] = {
    "crm": ("customer_address", "customer"),
    "erp": ("item", "catalog_sales", "web_sales"),
    "accounting": ("catalog_returns", "web_returns"),
}
"""The tables with `updated_at`; nothing else changes after the load, unless rare events are asked for."""

CHANGING_RARELY: Final[Mapping[str, tuple[str, ...]]] = {"erp": ("promotion",)}
"""The tables without `updated_at` that rare events change."""


def schema_sql(name: str) -> str:
    """Return the text of `schema/<name>.sql`."""
    return (SCHEMA_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def inventory_key(day: date) -> str:
    """Return the bucket key of the weekly inventory file of `day`."""
    return f"landing/inventory/inventory_{day.isoformat()}.csv"


def date_sk(day: date) -> int:
    """Return TPC-DS's surrogate key of a date: its Julian day number."""
    return day.toordinal() + 1721425


def business_key(surrogate_key: int) -> str:
    """Return TPC-DS's 16-letter business key: base 16 in the letters A to P, low digits first.

    The specification's tools write the upper 32 bits first and the lower 32 bits after them.
    """

    def letters(word: int) -> str:
        return "".join(chr(ord("A") + (word >> shift & 15)) for shift in range(0, 32, 4))

    return letters(surrogate_key >> 32) + letters(surrogate_key & 0xFFFFFFFF)
