"""Items: new prices as new versions, and wrong prices put right in place."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from deployments.local.sample.day import BusinessDay
from deployments.local.sample.prices import CENT, cents

_HIGHEST = Decimal("99999.99")


def change_prices(day: BusinessDay) -> None:
    """Plan price changes as TPC-DS versions items: the old version ends yesterday, a new row begins today."""
    moments = day.moments(max(2, day.count("item") // 1000))
    for at, item in zip(moments, _priced(day, len(moments)), strict=False):
        yesterday = day.date - timedelta(days=1)
        sk = day.next_key("item", "i_item_sk")
        day.update("price_change", at, "item", item, {"i_rec_end_date": yesterday})
        version = {
            "i_item_sk": sk,
            "i_rec_start_date": day.date,
            "i_current_price": _new_price(day.rng, item),
        }
        day.insert("price_change", at, "item", item | version)


def correct_prices(day: BusinessDay) -> None:
    """Plan corrections of a price that was typed wrongly: the same version, overwritten."""
    moments = day.moments(max(2, day.count("item") // 1000))
    for at, item in zip(moments, _priced(day, len(moments)), strict=False):
        day.update("price_correction", at, "item", item, {"i_current_price": _new_price(day.rng, item)})


def _priced(day: BusinessDay, count: int) -> list[dict[str, Any]]:
    """Return `count` items in force with a price, whose version did not begin today or later."""
    return [
        item
        for item in day.sample("item", count + 50)
        if item["i_current_price"] is not None
        and item["i_rec_start_date"] is not None
        and item["i_rec_start_date"] < day.date
    ][:count]


def _new_price(rng: Random, item: dict[str, Any]) -> Decimal:
    old: Decimal = item["i_current_price"]
    percent = rng.choice((80, 90, 95, 105, 110, 120))
    new = cents(old * percent / 100)
    return min(new if new != old else old + CENT, _HIGHEST)
