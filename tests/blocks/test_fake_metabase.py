"""What the fake Metabase claims of itself: stricter than Metabase, and as forgetful."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import KEY, by_hand, ready

FEW = {("marts", "fct_sales"): ["sold_date", "amount"]}


@pytest.fixture
def fake() -> Iterator[FakeMetabase]:
    with running_metabase(FEW, late=2) as server:
        ready(server)
        yield server


def answer(fake: FakeMetabase, method: str, path: str, body: Any = None, key: str = KEY) -> httpx.Response:
    headers = {"x-api-key": key}
    return httpx.request(method, f"{fake.url}/api{path}", json=body, headers=headers, trust_env=False)


def native(fake: FakeMetabase, **tags: Any) -> dict[str, Any]:
    sql = " ".join(["select 1 from marts.fct_sales", *(f"[[and {{{{{tag}}}}}]]" for tag in tags)])
    number = next(iter(fake.state.databases))
    return {"type": "native", "database": number, "native": {"query": sql, "template-tags": tags}}


def test_a_key_that_nobody_declared_is_refused_at_every_depth(fake: FakeMetabase) -> None:
    board = by_hand(fake, "POST", "/dashboard", {"name": "A"})["id"]
    place = {"id": -1, "card_id": None, "row": 0, "col": 0, "size_x": 1, "size_y": 1}
    card = {"name": "A", "display": "table", "visualization_settings": {}, "dataset_query": native(fake)}
    assert answer(fake, "POST", "/card", card).status_code == 200
    for path, method, body in [
        ("/card", "POST", card | {"colour": "red"}),
        ("/dashboard", "POST", {"name": "A", "dashcards": []}),
        (f"/dashboard/{board}", "PUT", {"dashcards": [place | {"sizeX": 1}], "tabs": []}),
        (f"/dashboard/{board}", "PUT", {"dashcards": [], "tabs": [{"id": -1, "name": "A", "slug": "a"}]}),
        ("/collection", "POST", {"name": "A", "entity_id": "x" * 21}),
    ]:
        refused = answer(fake, method, path, body)
        assert (refused.status_code, "undeclared" in refused.text) == (400, True), body


def test_what_is_not_sent_of_a_dashboard_is_gone_and_new_parts_get_real_ids(fake: FakeMetabase) -> None:
    path = f"/dashboard/{by_hand(fake, 'POST', '/dashboard', {'name': 'A'})['id']}"
    place = {"card_id": None, "row": 0, "col": 0, "size_x": 1, "size_y": 1}
    tabs = [{"id": -1, "name": "One"}, {"id": -2, "name": "Two"}]
    cards = [{"id": -1, "dashboard_tab_id": -1, **place}, {"id": -2, "dashboard_tab_id": -2, **place}]
    made = by_hand(fake, "PUT", path, {"tabs": tabs, "dashcards": cards})
    numbers = [tab["id"] for tab in made["tabs"]]
    assert min(numbers) > 0
    assert [card["dashboard_tab_id"] for card in made["dashcards"]] == numbers
    kept = {**cards[0], "id": made["dashcards"][0]["id"], "dashboard_tab_id": numbers[0]}
    left = by_hand(fake, "PUT", path, {"tabs": [{"id": numbers[0], "name": "One"}], "dashcards": [kept]})
    assert [card["id"] for card in left["dashcards"]] == [kept["id"]]
    assert [tab["id"] for tab in left["tabs"]] == numbers[:1]
    assert by_hand(fake, "PUT", path, {"dashcards": []})["tabs"] == []


def test_a_sync_shows_later_though_the_status_says_complete(fake: FakeMetabase) -> None:
    path = f"/database/{next(iter(fake.state.databases))}"
    seen = [answer(fake, "GET", f"{path}/metadata").json() for _ in range(3)]
    assert [len(each["tables"]) for each in seen] == [0, 0, 1]
    assert {each["initial_sync_status"] for each in seen} == {"complete"}


def test_queries_come_back_as_mbql_5_with_uuids(fake: FakeMetabase) -> None:
    for _ in range(3):
        answer(fake, "GET", f"/database/{next(iter(fake.state.databases))}/metadata")
    field = next(iter(fake.state.tables.values()))["fields"][0]["id"]
    tag = {
        "id": "6b8b10ef-0104-1047-1e1b-2492d5954555",
        "name": "day",
        "display-name": "Day",
        "type": "dimension",
        "dimension": ["field", field, None],
        "widget-type": "date/all-options",
    }
    body = {
        "name": "A",
        "display": "table",
        "visualization_settings": {},
        "dataset_query": native(fake, day=tag),
    }
    (stage,) = by_hand(fake, "POST", "/card", body)["dataset_query"]["stages"]
    assert stage["lib/type"] == "mbql.stage/native"
    kind, options, number = stage["template-tags"]["day"]["dimension"]
    assert (kind, number, options["base-type"]) == ("field", field, "type/Date")
    assert options["lib/uuid"]


def test_the_setup_token_works_once_and_a_stale_revision_never(fake: FakeMetabase) -> None:
    user = {"email": "b@example.com", "password": "correct horse"}
    body = {"token": "any", "user": user, "prefs": {"site_name": "x"}}
    assert answer(fake, "POST", "/setup", body).status_code == 403
    assert answer(fake, "GET", "/session/properties").json()["setup-token"] is None
    graph = answer(fake, "GET", "/collection/graph").json()
    assert answer(fake, "PUT", "/collection/graph", graph).status_code == 200
    assert answer(fake, "PUT", "/collection/graph", graph).status_code == 409


def test_secrets_of_a_database_are_never_shown_and_a_wrong_key_shows_nothing(fake: FakeMetabase) -> None:
    details = {"user": "u", "password": "secret"}
    made = by_hand(fake, "POST", "/database", {"name": "B", "engine": "postgres", "details": details})
    assert made["details"]["password"] == "**MetabasePass**"
    by_hand(fake, "PUT", f"/database/{made['id']}", {"details": made["details"]})
    assert fake.state.databases[made["id"]]["details"]["password"] == "secret"
    assert answer(fake, "GET", "/database", key="mb_wrong").status_code == 401
