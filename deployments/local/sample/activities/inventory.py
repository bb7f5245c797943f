"""The weekly stock count: a CSV file, on the day of the week on which TPC-DS counts."""

from __future__ import annotations

import hashlib
from typing import Final

from deployments.local.sample.day import BusinessDay
from deployments.local.sample.event_log import FileLanded
from deployments.local.sample.generate import inventory_file
from deployments.local.sample.tables import date_sk

_THURSDAY: Final = 3


def count_stock(day: BusinessDay) -> tuple[FileLanded, bytes] | None:
    """Return the day's stock file and its bytes, None on a day without one.

    It counts the items that were in force when the day began, in every warehouse; as in TPC-DS a
    count is missing now and then.
    """
    if day.date.weekday() != _THURSDAY:
        return None
    items = day.company.values(
        "erp", "select i_item_sk from public.item where i_rec_end_date is null order by 1"
    )
    warehouses = day.company.values("erp", "select w_warehouse_sk from public.warehouse order by 1")
    lines = [
        f"{date_sk(day.date)},{item},{warehouse},{_count(day)}" for item in items for warehouse in warehouses
    ]
    key, content, rows = inventory_file(day.date, lines)
    return FileLanded(day.opening, "new_week", key, rows, hashlib.sha256(content).hexdigest()), content


def _count(day: BusinessDay) -> str:
    return "" if day.rng.random() < 0.05 else str(day.rng.randint(0, 1000))
