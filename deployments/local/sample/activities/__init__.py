"""What people do on a business day: one module per kind of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deployments.local.sample.activities import (
    corrections,
    customers,
    deletions,
    items,
    late_changes,
    orders,
    promotions,
    returns,
)
from deployments.local.sample.day import BusinessDay

Activity = Callable[[BusinessDay], None]

EVERY_DAY: Final[tuple[Activity, ...]] = (
    # Who moves, and what gets another price, does not buy or get sold on that day: so an order never
    # carries an address or price that had changed an hour earlier.
    customers.register,
    customers.move_to_new_addresses,
    customers.change_addresses,
    customers.change_emails,
    items.change_prices,
    items.correct_prices,
    orders.place,
    returns.bring_back,
    corrections.correct,
)

WITH_DELETIONS: Final[tuple[Activity, ...]] = (
    deletions.delete_customers,
    deletions.delete_sale_lines,
)

RARE: Final[tuple[Activity, ...]] = (
    deletions.delete_buyers,
    returns.bring_back_after_deletion,
    late_changes.change_late,
    late_changes.correct_late,
    promotions.launch,
    promotions.change,
    promotions.end,
    promotions.put_down_to_others,
)
