"""Corrections of earlier sales: another quantity, or another price."""

from __future__ import annotations

from typing import Any

from deployments.local.sample.activities.channels import CHANNELS, Channel, sale_of, whole_lines
from deployments.local.sample.day import BusinessDay
from deployments.local.sample.prices import CENT, cents


def correct(day: BusinessDay) -> None:
    """Plan corrected sale lines; everything that follows from the corrected value is reckoned again."""
    for channel in CHANNELS:
        moments = day.moments(max(2, day.count(channel.sales) // channel.lines_per_day // 50))
        for at, line in zip(moments, whole_lines(day, channel, len(moments)), strict=False):
            day.update("correction", at, channel.sales, line, corrected(day, channel, line))


def corrected(day: BusinessDay, channel: Channel, line: dict[str, Any]) -> dict[str, Any]:
    """Return what a sale line has with another quantity or price."""
    sale = sale_of(channel, line)
    if day.rng.random() < 0.5:
        other = sale.corrected(quantity=sale.quantity + day.rng.randint(1, 5))
    else:
        lower = cents(sale.sales_price * day.rng.randint(50, 95) / 100)
        price = lower if lower != sale.sales_price else sale.sales_price + CENT
        other = sale.corrected(sales_price=price)
    return other.columns(channel.sale)
