"""The arithmetic of TPC-DS prices: how the columns of a sale and of a return add up, to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from typing import Final

CENT: Final = Decimal("0.01")
_NOTHING: Final = Decimal("0.00")


def cents(value: Decimal) -> Decimal:
    """Return `value` rounded half up to whole cents."""
    return value.quantize(CENT, ROUND_HALF_UP)


def between(rng: Random, low: Decimal | str, high: Decimal | str) -> Decimal:
    """Return a random amount of money from `low` to `high`, both included."""
    return Decimal(rng.randint(int(Decimal(low) * 100), int(Decimal(high) * 100))).scaleb(-2)


@dataclass(frozen=True)
class Sale:
    """The independent prices of one sale line; everything else follows from them.

    Args:
        quantity: pieces, above 0.
        wholesale_cost: what a piece cost the company.
        list_price: price of a piece before the discount.
        sales_price: price of a piece after the discount.
        coupon_amt: off the whole line, at most `quantity * sales_price`.
        ext_tax: tax on the whole line.
        ext_ship_cost: shipping of the whole line.
    """

    quantity: int
    wholesale_cost: Decimal
    list_price: Decimal
    sales_price: Decimal
    coupon_amt: Decimal
    ext_tax: Decimal
    ext_ship_cost: Decimal

    @classmethod
    def draw(cls, rng: Random, list_price: Decimal, wholesale_cost: Decimal) -> Sale:
        """Return a plausible sale of an item with these unit prices."""
        quantity = rng.randint(1, 100)
        sales_price = cents(list_price * (100 - rng.randint(0, 50)) / 100)
        coupon = cents(quantity * sales_price * rng.randint(1, 60) / 100) if rng.random() < 0.2 else _NOTHING
        tax = cents((quantity * sales_price - coupon) * rng.randint(0, 9) / 100)
        shipping = quantity * between(rng, _NOTHING, list_price / 2)
        return cls(quantity, wholesale_cost, list_price, sales_price, coupon, tax, shipping)

    def corrected(self, *, quantity: int | None = None, sales_price: Decimal | None = None) -> Sale:
        """Return the same sale with another quantity or price; tax and shipping keep their rates."""
        new_quantity = self.quantity if quantity is None else quantity
        new_price = self.sales_price if sales_price is None else sales_price
        coupon = min(self.coupon_amt, new_quantity * new_price)
        old_paid = self.quantity * self.sales_price - self.coupon_amt
        new_paid = new_quantity * new_price - coupon
        return Sale(
            quantity=new_quantity,
            wholesale_cost=self.wholesale_cost,
            list_price=self.list_price,
            sales_price=new_price,
            coupon_amt=coupon,
            ext_tax=cents(self.ext_tax * new_paid / old_paid) if old_paid else _NOTHING,
            ext_ship_cost=cents(self.ext_ship_cost * new_quantity / self.quantity),
        )

    def columns(self, prefix: str) -> dict[str, int | Decimal]:
        """Return all price columns of the line, named `<prefix>_...`."""
        ext_sales_price = self.quantity * self.sales_price
        ext_wholesale_cost = self.quantity * self.wholesale_cost
        ext_list_price = self.quantity * self.list_price
        net_paid = ext_sales_price - self.coupon_amt
        amounts: dict[str, int | Decimal] = {
            "quantity": self.quantity,
            "wholesale_cost": self.wholesale_cost,
            "list_price": self.list_price,
            "sales_price": self.sales_price,
            "ext_discount_amt": ext_list_price - ext_sales_price,
            "ext_sales_price": ext_sales_price,
            "ext_wholesale_cost": ext_wholesale_cost,
            "ext_list_price": ext_list_price,
            "ext_tax": self.ext_tax,
            "coupon_amt": self.coupon_amt,
            "ext_ship_cost": self.ext_ship_cost,
            "net_paid": net_paid,
            "net_paid_inc_tax": net_paid + self.ext_tax,
            "net_paid_inc_ship": net_paid + self.ext_ship_cost,
            "net_paid_inc_ship_tax": net_paid + self.ext_ship_cost + self.ext_tax,
            "net_profit": net_paid - ext_wholesale_cost,
        }
        return {f"{prefix}_{name}": amount for name, amount in amounts.items()}


@dataclass(frozen=True)
class Return:
    """The amounts of one returned sale line.

    What was paid comes back in cash, as a reversed charge or as a credit; the company loses the tax,
    its fee and the shipping, as dsdgen reckons it.
    """

    quantity: int
    amount: Decimal
    tax: Decimal
    fee: Decimal
    ship_cost: Decimal
    refunded_cash: Decimal
    reversed_charge: Decimal

    @classmethod
    def draw(cls, rng: Random, sale: Sale) -> Return:
        """Return a plausible return of some or all pieces of a sale."""
        quantity = rng.randint(1, sale.quantity)
        amount = quantity * sale.sales_price
        cash = cents(amount * rng.randint(0, 100) / 100)
        reversed_charge = cents((amount - cash) * rng.randint(0, 100) / 100)
        return cls(
            quantity=quantity,
            amount=amount,
            tax=cents(sale.ext_tax * quantity / sale.quantity),
            fee=between(rng, "0.50", "100.00"),
            ship_cost=cents(sale.ext_ship_cost * quantity / sale.quantity),
            refunded_cash=cash,
            reversed_charge=reversed_charge,
        )

    @property
    def credit(self) -> Decimal:
        """What comes back as a credit with the company: all that is neither cash nor reversed."""
        return self.amount - self.refunded_cash - self.reversed_charge

    @property
    def net_loss(self) -> Decimal:
        """What the company loses: tax, fee and shipping."""
        return self.tax + self.fee + self.ship_cost
