"""Changes of customers, addresses and sale lines whose transactions ended days after they began.

Their change time is when they began: a sync that runs between has read later changes by then and never
sees them, and the same row, or the other half of a household, may have changed after them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from deployments.local.sample.activities.channels import CHANNELS, whole_lines
from deployments.local.sample.activities.corrections import corrected
from deployments.local.sample.activities.customers import other_email, other_place
from deployments.local.sample.day import BusinessDay
from deployments.local.sample.tables import date_sk

_DAYS: Final = 3
_OF_EACH: Final = 3


def correct_late(day: BusinessDay) -> None:
    """Plan late corrections of sale lines."""
    for channel in CHANNELS:
        for line in whole_lines(day, channel, 1):
            day.update("late_change", _days_ago(day), channel.sales, line, corrected(day, channel, line))


def change_late(day: BusinessDay) -> None:
    """Plan late changes of households that have changed since, of recent buyers, and of anybody."""
    homes: dict[int, int] = {
        row["c_customer_sk"]: row["c_current_addr_sk"]
        for row in day.company.rows(
            "crm",
            "select c_customer_sk, c_current_addr_sk from public.customer"
            " where c_current_addr_sk is not null order by 1",
        )
    }
    for customers in (_changed(day), _buyers(day), list(homes)):
        known = [sk for sk in customers if sk in homes]
        for sk in day.rng.sample(known, min(_OF_EACH, len(known))):
            _change_late(day, sk, homes[sk])


def _change_late(day: BusinessDay, customer_sk: int, address_sk: int) -> None:
    at = _days_ago(day)
    customer = _row(day, "customer", "c_customer_sk", customer_sk)
    address = _row(day, "customer_address", "ca_address_sk", address_sk)
    if day.rng.random() < 0.5 and day.is_untouched("customer", customer):
        day.update("late_change", at, "customer", customer, other_email(day, customer))
    elif day.is_untouched("customer_address", address):
        day.update("late_change", at, "customer_address", address, other_place(day, address))


def _days_ago(day: BusinessDay) -> datetime:
    (moment,) = day.moments(1)
    return moment - timedelta(days=day.rng.randint(1, _DAYS))


def _changed(day: BusinessDay) -> list[int]:
    """Return the customers who have changed lately, or whose address has."""
    return day.company.values(
        "crm",
        "select c_customer_sk from public.customer"
        " join public.customer_address on ca_address_sk = c_current_addr_sk"
        " where greatest(customer.updated_at, customer_address.updated_at) >= %s order by 1",
        day.opening - timedelta(days=_DAYS),
    )


def _buyers(day: BusinessDay) -> list[int]:
    """Return the customers who have bought lately."""
    found: set[int] = set()
    for channel in CHANNELS:
        query = (
            f"select distinct {channel.sale}_bill_customer_sk from public.{channel.sales}"
            f" where {channel.sale}_sold_date_sk >= %s and {channel.sale}_bill_customer_sk is not null"
        )
        found.update(day.company.values("erp", query, date_sk(day.date) - _DAYS))
    return sorted(found)


def _row(day: BusinessDay, table: str, key: str, sk: int) -> dict[str, Any]:
    (row,) = day.company.rows("crm", f"select * from public.{table} where {key} = %s", sk)
    return row
