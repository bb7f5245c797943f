"""What the tests of dashboards in Metabase share: the sample's marts in a fake, and a provisioner on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import httpx
from pydantic import SecretStr

from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_files import DASHBOARDS, load_dashboards
from blocks.dbt import PROJECT
from blocks.metabase import Provisioner
from blocks.metabase_client import MetabaseClient
from blocks.metabase_fields import Mart, marts_of_project
from blocks.metabase_settings import MartNames
from tests.fake_metabase import FakeMetabase

DATABASE = "Marts"
EVERY_MART: list[Mart] = marts_of_project(PROJECT)
SAMPLE: tuple[Dashboard, ...] = load_dashboards(DASHBOARDS)
# Two descriptions are as good as all, and cost fewer calls.
FEW_WORDS = [
    mart
    if mart.name == "dim_return_reasons"
    else replace(mart, description="", columns=dict.fromkeys(mart.columns, ""))
    for mart in EVERY_MART
]
WAREHOUSE = {("marts", mart.name): list(mart.columns) for mart in EVERY_MART}
# An API key that stands in no text that anybody may see.
KEY = "mb_never-to-be-shown-0123456789"


def ready(fake: FakeMetabase, engine: str = "postgres") -> None:
    """Give a fake what `floe dashboards apply` would set up: a user, a key, the database of the marts."""
    state = fake.state
    state.setup(
        {
            "token": state.setup_token,
            "user": {"email": "admin@example.com", "password": "correct horse"},
            "prefs": {"site_name": "fake"},
        }
    )
    state.keys[KEY] = {"id": state.next_id(), "name": "tests", "group": {"id": 2}}
    state.new_database({"name": DATABASE, "engine": engine, "details": {"user": "reader"}})


@cache
def client_of(fake: FakeMetabase) -> MetabaseClient:
    """Return a client that tries nothing again; one for each fake, since making one takes 25 ms."""
    return MetabaseClient(fake.url, SecretStr(KEY), pauses=())


def provisioner(
    fake: FakeMetabase,
    dashboards: Sequence[Dashboard] = SAMPLE,
    **how: Any,
) -> Provisioner:
    """Return a provisioner on a fake."""
    names = MartNames("MARTS", True) if fake.state.upper else MartNames("marts", False)
    return Provisioner(
        client_of(fake),
        DATABASE,
        names,
        dashboards,
        **{"marts": FEW_WORDS, "poll_seconds": 0.0, "sync_seconds": 30.0, **how},
    )


def by_hand(fake: FakeMetabase, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Do something in Metabase as a person would."""
    answer = httpx.request(
        method, f"{fake.url}/api{path}", json=body, headers={"x-api-key": KEY}, trust_env=False
    )
    answer.raise_for_status()
    return dict(answer.json())


def number_of(objects: dict[int, dict[str, Any]], name: str) -> int:
    """Return the number of the one object of a name that is not in the trash."""
    (number,) = [number for number, each in objects.items() if each["name"] == name and not each["archived"]]
    return number


def small(dashboard: Dashboard, cards: int = 2) -> Dashboard:
    """Return a dashboard with the first cards of its first tab alone."""
    tab = dashboard.tabs[0]
    kept = tab.model_copy(update={"cards": tab.cards[:cards]})
    used = {tag for card in kept.questions for tag in card.template_tags}
    filters = tuple(each for each in dashboard.filters if each.key in used)
    return dashboard.model_copy(update={"tabs": (kept,), "filters": filters})


def actions(changes: Sequence[Any]) -> dict[str, str]:
    """Return what is done to each object, without those that stay."""
    return {change.key or change.name: change.action for change in changes if change.action != "none"}
