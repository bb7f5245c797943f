"""What must hold on any Metabase: run on the fake in every test run, on a real one where there is one.

The fake is strict and written by us; only a real server can say what Metabase keeps, renames and fills in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from blocks.dashboard_definitions import Dashboard
from blocks.metabase import Provisioner
from blocks.metabase_client import Document, MetabaseClient
from blocks.metabase_errors import MetabaseChangedByHand
from tests.metabase_instance import SAMPLE, actions, small

Make = Callable[[Sequence[Dashboard], str], Provisioner]


def check_a_round_trip(make: Make) -> None:
    """Every field of every sample dashboard is kept; a second apply writes nothing; every card runs."""
    make(SAMPLE, "overwrite").apply()
    assert actions(make(SAMPLE, "refuse").plan()) == {}
    assert actions(make(SAMPLE, "refuse").apply()) == {}
    ran = make(SAMPLE, "refuse").run_cards()
    assert len(ran) == sum(len(dashboard.questions) for dashboard in SAMPLE)
    assert {card.key: card.error for card in ran if card.error} == {}


def check_changes_in_place(make: Make, client: MetabaseClient) -> None:
    """A renamed dashboard keeps its id, and its tabs and cards keep theirs."""
    first = small(SAMPLE[0], 3)
    make([first], "overwrite").apply()
    before = dashboard_of(client, first.title)
    make([first.model_copy(update={"title": "Renamed by a test of Floe"})], "refuse").apply()
    after = client.get(f"/dashboard/{before['id']}")
    assert after["name"] == "Renamed by a test of Floe"
    for part in ("tabs", "dashcards"):
        assert {each["id"] for each in after[part]} == {each["id"] for each in before[part]}


def check_changes_by_hand(make: Make, client: MetabaseClient) -> None:
    """What somebody changed stops an apply, is kept, or is undone."""
    first = [small(SAMPLE[0], 3)]
    make(first, "overwrite").apply()
    number = dashboard_of(client, first[0].title)["id"]
    client.put(f"/dashboard/{number}", {"name": "Changed by hand"})
    with pytest.raises(MetabaseChangedByHand):
        make(first, "refuse").apply()
    make(first, "keep").apply()
    assert client.get(f"/dashboard/{number}")["name"] == "Changed by hand"
    make(first, "overwrite").apply()
    assert client.get(f"/dashboard/{number}")["name"] == first[0].title


def check_archiving(make: Make, client: MetabaseClient) -> None:
    """A deleted definition is archived, and comes back as the same object."""
    first = [small(SAMPLE[0], 3)]
    make(first, "overwrite").apply()
    number = dashboard_of(client, first[0].title)["id"]
    make([], "refuse").apply()
    assert client.get(f"/dashboard/{number}")["archived"]
    assert actions(make([], "refuse").plan()) == {}
    make(first, "refuse").apply()
    assert not client.get(f"/dashboard/{number}")["archived"]
    assert actions(make(first, "refuse").plan()) == {}


def check_hand_made_objects(make: Make, client: MetabaseClient) -> None:
    """A dashboard of the same name that somebody made is not touched; it is archived at the end."""
    first = [small(SAMPLE[0], 3)]
    theirs = client.post("/dashboard", {"name": first[0].title, "description": "Somebody's"})
    before = client.get(f"/dashboard/{theirs['id']}")
    make(first, "overwrite").apply()
    make([], "overwrite").apply()
    after = client.get(f"/dashboard/{theirs['id']}")
    client.put(f"/dashboard/{theirs['id']}", {"archived": True})
    assert {name: after[name] for name in ("name", "description", "archived", "dashcards")} == {
        name: before[name] for name in ("name", "description", "archived", "dashcards")
    }


def check_rights(make: Make) -> None:
    """A group of analysts gets its rights once."""
    provisioner = make(SAMPLE[:1], "overwrite")
    provisioner.analysts = "Analysts of Floe's tests"
    provisioner.apply()
    assert actions(provisioner.plan()) == {}


def dashboard_of(client: MetabaseClient, name: str) -> Document:
    """Return the one dashboard of Floe's of a name."""
    collections = [row["id"] for row in client.get("/collection") if row["name"] == SAMPLE[0].collection]
    rows = [
        row
        for collection in collections
        for row in client.items(f"/collection/{collection}/items", models=["dashboard"])
        if row["name"] == name and "[floe:" in (row["description"] or "")
    ]
    (found,) = rows
    return dict(client.get(f"/dashboard/{found['id']}"))
