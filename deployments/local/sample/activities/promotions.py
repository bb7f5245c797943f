"""Promotions, of which the source does not say when they changed: new ones, other ones, those that end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from deployments.local.sample.activities.channels import CHANNELS, whole_lines
from deployments.local.sample.day import BusinessDay
from deployments.local.sample.prices import between
from deployments.local.sample.tables import business_key, date_sk

_FLAGS: Final = tuple(
    f"p_channel_{name}" for name in ("dmail", "email", "catalog", "tv", "radio", "press", "event", "demo")
) + ("p_discount_active",)
_PURPOSES: Final = ("Unknown", "Launch", "Clearance", None)


def launch(day: BusinessDay) -> None:
    """Plan a new promotion of an item."""
    (at,), (item,) = day.moments(1), day.sample("item", 1)
    sk = day.next_key("promotion", "p_promo_sk")
    values = {
        "p_promo_sk": sk,
        "p_promo_id": business_key(sk),
        "p_start_date_sk": date_sk(day.date),
        "p_end_date_sk": date_sk(day.date + timedelta(days=day.rng.randint(7, 60))),
        "p_item_sk": item["i_item_sk"],
        "p_cost": between(day.rng, "500.00", "2000.00"),
        "p_response_target": 1,
        "p_promo_name": f"promotion {sk}",
        "p_purpose": day.rng.choice(_PURPOSES),
        **{flag: day.rng.choice("YN") for flag in _FLAGS},
    }
    day.insert("new_promotion", at, "promotion", values)


def change(day: BusinessDay) -> None:
    """Plan another cost, channel, purpose or end of up to two promotions; on some days of none."""
    changes = day.rng.randint(0, 2)
    for at, promotion in zip(day.moments(changes), day.sample("promotion", changes), strict=False):
        day.update("promotion_change", at, "promotion", promotion, _other(day, promotion))


def end(day: BusinessDay) -> None:
    """Plan the deletion of a promotion that no sale is put down to, on some days; never of the newest."""
    if day.rng.random() < 0.3:
        return
    (at,) = day.moments(1)
    newest = day.next_key("promotion", "p_promo_sk") - 1
    sold = {newest}
    for channel in CHANNELS:
        query = f"select distinct {channel.sale}_promo_sk from public.{channel.sales}"
        sold.update(day.company.values("erp", query))
    unsold = [row for row in day.sample("promotion", 100) if row["p_promo_sk"] not in sold]
    for promotion in unsold[:1]:
        day.delete("promotion_deleted", at, "promotion", promotion)


def put_down_to_others(day: BusinessDay) -> None:
    """Plan a sale line of each channel that another promotion turns out to have brought, one that goes on."""
    for channel in CHANNELS:
        (at,), column = day.moments(1), f"{channel.sale}_promo_sk"
        lines, promotions = whole_lines(day, channel, 1), day.sample("promotion", 2)
        for line, promotion in zip(lines, promotions, strict=False):
            day.update("other_promotion", at, channel.sales, line, {column: promotion["p_promo_sk"]})


def _other(day: BusinessDay, promotion: dict[str, Any]) -> dict[str, Any]:
    flag = day.rng.choice(_FLAGS)
    return day.rng.choice(
        (
            {"p_cost": between(day.rng, "500.00", "2000.00")},
            {flag: "N" if promotion[flag] == "Y" else "Y"},
            {"p_purpose": day.rng.choice(_PURPOSES)},
            {"p_end_date_sk": date_sk(day.date + timedelta(days=day.rng.randint(1, 60)))},
        )
    )
