"""Customers: new ones, those who move, those with another e-mail address."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any, Final

from deployments.local.sample.day import BusinessDay
from deployments.local.sample.tables import business_key, date_sk

_STREET: Final = ("ca_street_number", "ca_street_name", "ca_street_type", "ca_suite_number")
_TOWN: Final = ("ca_city", "ca_county", "ca_state", "ca_zip", "ca_country", "ca_gmt_offset")
_PERSON: Final = (
    "c_salutation", "c_birth_day", "c_birth_month", "c_birth_year", "c_birth_country",
    "c_preferred_cust_flag", "c_current_cdemo_sk", "c_current_hdemo_sk",
)  # fmt: skip


def register(day: BusinessDay) -> None:
    """Plan new customers, each with an address of their own; they buy from the next day on."""
    for at in day.moments(max(2, day.count("customer") // 1000)):
        address_sk = _new_address(day, "new_customer", at)
        person, given_name, surname = day.sample("customer", 3)
        sk = day.next_key("customer", "c_customer_sk")
        names = {"c_first_name": given_name["c_first_name"], "c_last_name": surname["c_last_name"]}
        values = {column: person[column] for column in _PERSON} | names
        values |= {
            "c_customer_sk": sk,
            "c_customer_id": business_key(sk),
            "c_current_addr_sk": address_sk,
            "c_first_sales_date_sk": date_sk(day.date),
            "c_first_shipto_date_sk": date_sk(day.date + timedelta(days=30)),
            "c_last_review_date_sk": date_sk(day.date),
            "c_email_address": _email(day.rng, names, sk),
        }
        day.insert("new_customer", at, "customer", values)


def move_to_new_addresses(day: BusinessDay) -> None:
    """Plan customers who move: a new address row, and the customer pointed to it."""
    moments = day.moments(max(2, day.count("customer") // 1000))
    for at, customer in zip(moments, day.sample("customer", len(moments)), strict=False):
        address_sk = _new_address(day, "move", at)
        day.update("move", at, "customer", customer, {"c_current_addr_sk": address_sk})


def change_addresses(day: BusinessDay) -> None:
    """Plan households that move: the address row itself is overwritten, the customers still point to it."""
    moments = day.moments(max(2, day.count("customer_address") // 1000))
    inhabited = day.company.values(
        "crm", "select distinct c_current_addr_sk from public.customer where c_current_addr_sk is not null"
    )
    homes = set(inhabited)
    candidates = [row for row in day.sample("customer_address", 50) if row["ca_address_sk"] in homes]
    for at, address in zip(moments, candidates, strict=False):
        day.update("address_change", at, "customer_address", address, other_place(day, address))


def change_emails(day: BusinessDay) -> None:
    """Plan customers who give another e-mail address."""
    moments = day.moments(max(3, day.count("customer") // 500))
    for at, customer in zip(moments, day.sample("customer", len(moments)), strict=False):
        day.update("email_change", at, "customer", customer, other_email(day, customer))


def other_place(day: BusinessDay, address: dict[str, Any]) -> dict[str, Any]:
    """Return another street and town than an address has."""
    return _other(day, address, _STREET) | _other(day, address, _TOWN)


def other_email(day: BusinessDay, customer: dict[str, Any]) -> dict[str, Any]:
    """Return a new e-mail address of a customer."""
    return {"c_email_address": _email(day.rng, customer, customer["c_customer_sk"])}


def _new_address(day: BusinessDay, kind: str, at: Any) -> int:
    street, town, home = day.sample("customer_address", 3)
    sk = day.next_key("customer_address", "ca_address_sk")
    values = {column: street[column] for column in _STREET} | {column: town[column] for column in _TOWN}
    values |= {
        "ca_address_sk": sk,
        "ca_address_id": business_key(sk),
        "ca_location_type": home["ca_location_type"],
    }
    day.insert(kind, at, "customer_address", values)
    return sk


def _other(day: BusinessDay, address: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    for other in day.sample("customer_address", 20):
        values = {column: other[column] for column in columns}
        if any(values[column] != address[column] for column in columns):
            return values
    return {}


def _email(rng: Random, names: dict[str, Any], sk: int) -> str:
    given_name, surname = names["c_first_name"] or "customer", names["c_last_name"] or sk
    domain = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(4, 10)))
    return f"{given_name}.{surname}@{domain}.{rng.choice(('com', 'org', 'edu', 'net'))}"
