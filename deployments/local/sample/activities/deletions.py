"""Deletions, which a cursor sync cannot see: customers nobody references, and sale lines."""

from __future__ import annotations

from deployments.local.sample.activities.channels import CHANNELS, whole_lines
from deployments.local.sample.day import BusinessDay


def delete_customers(day: BusinessDay) -> None:
    """Plan the deletion of customers who never bought nor returned anything."""
    moments = day.moments(max(2, day.count("customer") // 1000))
    # Never the highest key: a sequence would not give it out again, and neither does the simulator.
    highest = day.next_key("customer", "c_customer_sk") - 1
    candidates = day.sample("customer", 50 * len(moments))
    referenced = _referenced(day, [row["c_customer_sk"] for row in candidates])
    strangers = [row for row in candidates if row["c_customer_sk"] not in referenced | {highest}]
    for at, customer in zip(moments, strangers, strict=False):
        day.delete("customer_deleted", at, "customer", customer)


def delete_sale_lines(day: BusinessDay) -> None:
    """Plan the deletion of earlier sale lines that nobody has returned."""
    for channel in CHANNELS:
        order = f"{channel.sale}_order_number"
        moments = day.moments(max(2, day.count(channel.sales) // channel.lines_per_day // 50))
        highest = max(day.company.values("erp", f"select max({order}) from public.{channel.sales}"))
        candidates = [line for line in whole_lines(day, channel, 2 * len(moments)) if line[order] != highest]
        for at, line in zip(moments, candidates, strict=False):
            day.delete("sale_line_deleted", at, channel.sales, line)


def _referenced(day: BusinessDay, customers: list[int]) -> set[int]:
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
                found.update(day.company.values(source, query, customers))
    planned = (change.after or {} for change in day.changes)
    for row in planned:
        found.update(int(value) for name, value in row.items() if name.endswith("_customer_sk") and value)
    return found
