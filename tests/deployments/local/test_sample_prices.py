from __future__ import annotations

from datetime import date
from decimal import Decimal
from random import Random

import pytest

from deployments.local.sample.prices import Return, Sale
from deployments.local.sample.tables import business_key, date_sk

SALE = Sale(
    quantity=10,
    wholesale_cost=Decimal("3.00"),
    list_price=Decimal("9.99"),
    sales_price=Decimal("8.00"),
    coupon_amt=Decimal("5.00"),
    ext_tax=Decimal("6.00"),
    ext_ship_cost=Decimal("12.50"),
)


def test_columns_of_a_sale_follow_from_its_prices() -> None:
    assert SALE.columns("ws") == {
        "ws_quantity": 10,
        "ws_wholesale_cost": Decimal("3.00"),
        "ws_list_price": Decimal("9.99"),
        "ws_sales_price": Decimal("8.00"),
        "ws_ext_discount_amt": Decimal("19.90"),
        "ws_ext_sales_price": Decimal("80.00"),
        "ws_ext_wholesale_cost": Decimal("30.00"),
        "ws_ext_list_price": Decimal("99.90"),
        "ws_ext_tax": Decimal("6.00"),
        "ws_coupon_amt": Decimal("5.00"),
        "ws_ext_ship_cost": Decimal("12.50"),
        "ws_net_paid": Decimal("75.00"),
        "ws_net_paid_inc_tax": Decimal("81.00"),
        "ws_net_paid_inc_ship": Decimal("87.50"),
        "ws_net_paid_inc_ship_tax": Decimal("93.50"),
        "ws_net_profit": Decimal("45.00"),
    }


def test_a_corrected_quantity_keeps_the_rates_of_tax_and_shipping() -> None:
    corrected = SALE.corrected(quantity=20)
    assert corrected.columns("cs")["cs_net_paid"] == Decimal("155.00")
    assert corrected.ext_tax == Decimal("12.40")
    assert corrected.ext_ship_cost == Decimal("25.00")


def test_a_coupon_is_never_worth_more_than_the_corrected_line() -> None:
    corrected = SALE.corrected(sales_price=Decimal("0.10"))
    assert corrected.coupon_amt == Decimal("1.00")
    assert corrected.columns("cs")["cs_net_paid"] == Decimal("0.00")


@pytest.mark.parametrize("seed", range(50))
def test_drawn_amounts_are_whole_cents_in_the_columns_range(seed: int) -> None:
    rng = Random(seed)  # noqa: S311
    sale = Sale.draw(rng, Decimal("99.99"), Decimal("0.07"))
    back = Return.draw(rng, sale)
    amounts = [value for value in sale.columns("cs").values() if isinstance(value, Decimal)]
    amounts += [back.amount, back.tax, back.fee, back.ship_cost, back.credit, back.net_loss]
    assert all(amount == amount.quantize(Decimal("0.01")) for amount in amounts)
    assert all(abs(amount) < 100_000 for amount in amounts)
    assert all(amount >= 0 for amount in amounts)
    assert 1 <= back.quantity <= sale.quantity
    assert back.refunded_cash + back.reversed_charge + back.credit == back.amount


@pytest.mark.parametrize(
    ("surrogate_key", "key"),
    [(1, "AAAAAAAABAAAAAAA"), (180, "AAAAAAAAELAAAAAA"), (1000, "AAAAAAAAIODAAAAA"),
     (2**32 + 1, "BAAAAAAABAAAAAAA")],
)  # fmt: skip
def test_business_keys_are_written_as_dsdgen_writes_them(surrogate_key: int, key: str) -> None:
    assert business_key(surrogate_key) == key


def test_date_keys_are_dsdgens() -> None:
    assert date_sk(date(2003, 1, 2)) == 2452642
    assert date_sk(date(1998, 1, 1)) == 2450815
