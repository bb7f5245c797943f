"""Deletions, which a cursor sync cannot see: customers and sale lines."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from deployments.local.sample.activities.channels import CHANNELS, whole_lines
from deployments.local.sample.day import BusinessDay


def delete_customers(day: BusinessDay) -> None:
    """Plan the deletion of customers who never bought nor returned anything."""
    moments, candidates = _candidates(day)
    referenced = _referenced(day, candidates) | _planned(day)
    strangers = [customer for sk, customer in candidates.items() if sk not in referenced]
    for at, customer in zip(moments, strangers, strict=False):
        day.delete("customer_deleted", at, "customer", customer)


def delete_buyers(day: BusinessDay) -> None:
    """Plan the deletion of customers whose sales and returns stay; they do not buy on that day."""
    moments, candidates = _candidates(day)
    buyers = _referenced(day, candidates) - _planned(day)
    deleted = [customer for sk, customer in candidates.items() if sk in buyers]
    for at, customer in zip(moments, deleted, strict=False):
        day.delete("buyer_deleted", at, "customer", customer)


def delete_sale_lines(day: BusinessDay) -> None:
    """Plan the deletion of earlier sale lines that nobody has returned."""
    for channel in CHANNELS:
        order = f"{channel.sale}_order_number"
        moments = day.moments(max(2, day.count(channel.sales) // channel.lines_per_day // 50))
        highest = max(day.company.values("erp", f"select max({order}) from public.{channel.sales}"))
        candidates = [line for line in whole_lines(day, channel, 2 * len(moments)) if line[order] != highest]
        for at, line in zip(moments, candidates, strict=False):
            day.delete("sale_line_deleted", at, channel.sales, line)


def _candidates(day: BusinessDay) -> tuple[list[datetime], dict[int, dict[str, Any]]]:
    """Return moments for deletions, and customers in random order of whom some may be deleted."""
    moments = day.moments(max(2, day.count("customer") // 1000))
    # Never the highest key: a sequence would not give it out again, and neither does the simulator.
    highest = day.next_key("customer", "c_customer_sk") - 1
    candidates = {row["c_customer_sk"]: row for row in day.sample("customer", 50 * len(moments))}
    candidates.pop(highest, None)
    return moments, candidates


def _referenced(day: BusinessDay, customers: Collection[int]) -> set[int]:
    found: set[int] = set()
    for channel in CHANNELS:
        for source, table, columns in (
            ("erp", channel.sales, (f"{channel.sale}_bill", f"{channel.sale}_ship")),
            ("accounting", channel.returns, (f"{channel.back}_refunded", f"{channel.back}_returning")),
        ):
            for column in columns:
                query = (
                    f"select distinct {column}_customer_sk from public.{table}"
                    f" where {column}_customer_sk = any(%s::bigint[])"
                )
                found.update(day.company.values(source, query, list(customers)))
    return found


def _planned(day: BusinessDay) -> set[int]:
    """Return the customers in what is already planned for the day."""
    found: set[int] = set()
    planned = (change.after or {} for change in day.changes)
    for row in planned:
        found.update(int(value) for name, value in row.items() if name.endswith("_customer_sk") and value)
    return found
