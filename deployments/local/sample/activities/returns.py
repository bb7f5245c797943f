"""Returns of earlier sales, recent and old."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from deployments.local.sample.activities.channels import CHANNELS, Channel, sale_of, whole_lines
from deployments.local.sample.day import BusinessDay
from deployments.local.sample.prices import Return
from deployments.local.sample.tables import date_sk

_WHO = ("customer_sk", "cdemo_sk", "hdemo_sk", "addr_sk")


def bring_back(day: BusinessDay) -> None:
    """Plan returns: about one line in ten that is sold comes back."""
    reasons = day.company.values("accounting", "select r_reason_sk from public.reason order by 1")
    for channel in CHANNELS:
        moments = day.moments(max(3, day.count(channel.sales) // channel.lines_per_day // 10))
        for at, line in zip(moments, whole_lines(day, channel, len(moments)), strict=False):
            _return(day, "return", channel, at, line, day.rng.choice(reasons))


def bring_back_after_deletion(day: BusinessDay) -> None:
    """Plan returns of what customers bought whom CRM has deleted since."""
    reasons = day.company.values("accounting", "select r_reason_sk from public.reason order by 1")
    customers = day.company.values("crm", "select c_customer_sk from public.customer")
    for channel in CHANNELS:
        orders = day.company.values(
            "erp",
            f"select distinct {channel.sale}_order_number from public.{channel.sales}"
            f" where {channel.sale}_bill_customer_sk <> all(%s::bigint[])",
            customers,
        )
        moments = day.moments(2)
        for at, line in zip(moments, whole_lines(day, channel, len(moments), orders), strict=False):
            _return(day, "return_after_deletion", channel, at, line, day.rng.choice(reasons))


def _return(
    day: BusinessDay, kind: str, channel: Channel, at: datetime, line: dict[str, Any], reason: int
) -> None:
    sale, back = channel.sale, channel.back
    amounts = Return.draw(day.rng, sale_of(channel, line))
    amount, credit = channel.return_columns
    values: dict[str, Any] = {
        "returned_date_sk": date_sk(at.date()),
        "returned_time_sk": at.hour * 3600 + at.minute * 60 + at.second,
        "item_sk": line[f"{sale}_item_sk"],
        "order_number": line[f"{sale}_order_number"],
        **{f"refunded_{column}": line[f"{sale}_bill_{column}"] for column in _WHO},
        **{f"returning_{column}": line[f"{sale}_ship_{column}"] for column in _WHO},
        **{column: line[f"{sale}_{column}"] for column in channel.return_carried},
        "reason_sk": reason,
        "return_quantity": amounts.quantity,
        amount: amounts.amount,
        "return_tax": amounts.tax,
        "return_amt_inc_tax": amounts.amount + amounts.tax,
        "fee": amounts.fee,
        "return_ship_cost": amounts.ship_cost,
        "refunded_cash": amounts.refunded_cash,
        "reversed_charge": amounts.reversed_charge,
        credit: amounts.credit,
        "net_loss": amounts.net_loss,
    }
    named = {f"{back}_{column}": value for column, value in values.items()}
    day.insert(kind, at, channel.returns, named)
