"""Orders: new ones, those of unknown customers, those entered days after the sale."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from deployments.local.sample.activities.channels import CHANNELS, Channel, some_lines
from deployments.local.sample.day import BusinessDay
from deployments.local.sample.prices import Sale, between
from deployments.local.sample.tables import date_sk

_MEAN_LINES = 5
_WHO = ("customer_sk", "cdemo_sk", "hdemo_sk", "addr_sk")


def place(day: BusinessDay) -> None:
    """Plan the day's orders of both channels; each is one transaction of several lines."""
    for channel in CHANNELS:
        orders = max(4, day.count(channel.sales) // channel.lines_per_day // _MEAN_LINES)
        late = max(1, orders // 20)
        unknown = max(1, orders // 20)
        kinds = ["late_sale"] * late + ["unknown_customer"] * unknown
        kinds += ["new_order"] * (orders - len(kinds))
        day.rng.shuffle(kinds)
        earlier = some_lines(day, channel)
        number = day.next_key(channel.sales, f"{channel.sale}_order_number")
        for at, kind in zip(day.moments(orders), kinds, strict=True):
            _order(day, channel, kind, at, number, earlier)
            number += 1


def _order(
    day: BusinessDay, channel: Channel, kind: str, at: datetime, number: int, earlier: list[dict[str, Any]]
) -> None:
    sold = at - timedelta(days=day.rng.randint(3, 20) if kind == "late_sale" else 0)
    head = {
        "sold_date_sk": date_sk(sold.date()),
        "sold_time_sk": sold.hour * 3600 + sold.minute * 60 + sold.second,
        "order_number": number,
        **_who(day, known=kind != "unknown_customer"),
    }
    for item in day.sample("item", day.rng.randint(2, 8)):
        like = day.rng.choice(earlier)
        line = head | {
            "item_sk": item["i_item_sk"],
            "ship_date_sk": date_sk(sold.date() + timedelta(days=day.rng.randint(2, 90))),
            **{column: like[f"{channel.sale}_{column}"] for column in channel.carried},
        }
        prices = _prices(day, item).columns(channel.sale)
        named = {f"{channel.sale}_{column}": value for column, value in line.items()}
        day.insert(kind, at, channel.sales, named | prices)


def _who(day: BusinessDay, *, known: bool) -> dict[str, Any]:
    """Return who pays and to whom it goes: mostly the same customer, nobody when unknown."""
    if not known:
        return {f"{role}_{column}": None for role in ("bill", "ship") for column in _WHO}
    payer, friend = day.sample("customer", 2)
    receiver = friend if day.rng.random() < 0.1 else payer
    return {
        f"{role}_{column}": customer["c_customer_sk" if column == "customer_sk" else f"c_current_{column}"]
        for role, customer in (("bill", payer), ("ship", receiver))
        for column in _WHO
    }


def _prices(day: BusinessDay, item: dict[str, Any]) -> Sale:
    list_price: Decimal = item["i_current_price"] or between(day.rng, "1.00", "100.00")
    wholesale_cost: Decimal = item["i_wholesale_cost"] or between(day.rng, "1.00", "100.00")
    return Sale.draw(day.rng, list_price, wholesale_cost)
