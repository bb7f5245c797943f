"""The two ways to buy, by catalogue and on the web: the same work on differently named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from deployments.local.sample.day import BusinessDay
from deployments.local.sample.prices import Sale

_PRICES: Final = (
    "quantity", "wholesale_cost", "list_price", "sales_price", "coupon_amt", "ext_tax", "ext_ship_cost",
)  # fmt: skip


@dataclass(frozen=True)
class Channel:
    """Names of one sales channel.

    Args:
        sales: its table of sale lines.
        sale: prefix of that table's columns.
        returns: its table of returns.
        back: prefix of that table's columns.
        carried: sale columns (without prefix) about where and how it was sold; the simulator copies
            them from earlier lines because their tables are not part of the sample.
        lines_per_day: sale lines at which a table sells about one line a day.
        return_columns: its names for the amount, and for the credit, of a return.
        return_carried: return columns (without prefix) that are copied from the sale line.
    """

    sales: str
    sale: str
    returns: str
    back: str
    carried: tuple[str, ...]
    lines_per_day: int
    return_columns: tuple[str, str]
    return_carried: tuple[str, ...]


CHANNELS: Final = (
    Channel(
        sales="catalog_sales",
        sale="cs",
        returns="catalog_returns",
        back="cr",
        carried=("call_center_sk", "catalog_page_sk", "ship_mode_sk", "warehouse_sk", "promo_sk"),
        lines_per_day=1410,
        return_columns=("return_amount", "store_credit"),
        return_carried=("call_center_sk", "catalog_page_sk", "ship_mode_sk", "warehouse_sk"),
    ),
    Channel(
        sales="web_sales",
        sale="ws",
        returns="web_returns",
        back="wr",
        carried=("web_page_sk", "web_site_sk", "ship_mode_sk", "warehouse_sk", "promo_sk"),
        lines_per_day=1826,
        return_columns=("return_amt", "account_credit"),
        return_carried=("web_page_sk",),
    ),
)


def sale_of(channel: Channel, line: dict[str, Any]) -> Sale:
    """Return the prices of a sale line that has all of them."""
    return Sale(**{name: line[f"{channel.sale}_{name}"] for name in _PRICES})


def whole_lines(
    day: BusinessDay, channel: Channel, count: int, orders: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Return up to `count` random earlier sale lines, to return or correct.

    They are of `orders`, or else half of them recent. Only lines with all their prices, which nobody has
    returned and nothing is planned for.
    """
    prefix, order = channel.sale, f"{channel.sale}_order_number"
    priced = " and ".join(f"{prefix}_{name} is not null" for name in _PRICES)
    lines = day.company.rows(
        "erp",
        f"select * from public.{channel.sales}"
        f" where {order} = any(%s::bigint[]) and {prefix}_quantity > 0 and {priced}"
        f" order by {order}, {prefix}_item_sk",
        _order_numbers(day, channel, 2 * count + 20) if orders is None else list(orders),
    )
    back = channel.back
    returned = {
        (row[f"{back}_item_sk"], row[f"{back}_order_number"])
        for row in day.company.rows(
            "accounting",
            f"select {back}_item_sk, {back}_order_number from public.{channel.returns}"
            f" where {back}_order_number = any(%s::bigint[])",
            sorted({line[order] for line in lines}),
        )
    }
    free = [
        line
        for line in lines
        if (line[f"{prefix}_item_sk"], line[order]) not in returned and day.is_untouched(channel.sales, line)
    ]
    return day.rng.sample(free, min(count, len(free)))


def some_lines(day: BusinessDay, channel: Channel) -> list[dict[str, Any]]:
    """Return random earlier sale lines of the channel, whatever they hold."""
    order = f"{channel.sale}_order_number"
    return day.company.rows(
        "erp",
        f"select * from public.{channel.sales} where {order} = any(%s::bigint[])"
        f" order by {order}, {channel.sale}_item_sk",
        _order_numbers(day, channel, 20),
    )


def _order_numbers(day: BusinessDay, channel: Channel, count: int) -> list[int]:
    highest = day.next_key(channel.sales, f"{channel.sale}_order_number") - 1
    recent = max(1, highest - max(100, highest // 20))
    return sorted({day.rng.randint(recent if index % 2 else 1, highest) for index in range(count)})
