"""Dashboards in a fake Metabase (`tests/fake_metabase`), which is not Metabase: see `tests/live`."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.metabase_errors import (
    MetabaseBusy,
    MetabaseChangedByHand,
    MetabaseIncompatible,
    MetabaseSyncLate,
    MetabaseUnreachable,
)
from tests.fake_metabase import FakeMetabase, running_metabase
from tests.metabase_instance import (
    EVERY_MART,
    KEY,
    SAMPLE,
    WAREHOUSE,
    actions,
    by_hand,
    client_of,
    number_of,
    provisioner,
    ready,
    small,
)

EXECUTIVE = next(each for each in SAMPLE if each.key == "executive_overview")
SMALL = [small(EXECUTIVE, 3)]


@pytest.fixture(params=[False, True], ids=["postgres", "snowflake"])
def either(request: pytest.FixtureRequest) -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE, upper=request.param) as fake:
        ready(fake)
        yield fake


@pytest.fixture
def fake() -> Iterator[FakeMetabase]:
    with running_metabase(WAREHOUSE) as fake:
        ready(fake)
        yield fake


def everything(fake: FakeMetabase) -> dict[str, Any]:
    """Return a copy of what the fake has, without what only it knows."""
    state = fake.state
    kinds = ("collections", "cards", "dashboards", "tables")
    return copy.deepcopy({kind: getattr(state, kind) for kind in kinds})


def dashboard_named(fake: FakeMetabase, name: str) -> dict[str, Any]:
    return fake.state.dashboards[number_of(fake.state.dashboards, name)]


def test_every_field_of_the_sample_is_there_and_a_second_apply_changes_nothing(either: FakeMetabase) -> None:
    done = provisioner(either).apply()
    assert {change.action for change in done} == {"create", "update"}
    assert [each["name"] for each in either.state.dashboards.values()] == [each.title for each in SAMPLE]
    assert len(either.state.cards) == 34
    before, either.calls[:] = everything(either), []
    # What the plan compares is read back from the server, every part of every definition.
    assert actions(provisioner(either).plan()) == {}
    assert actions(provisioner(either).apply()) == {}
    assert either.writes() == []
    assert everything(either) == before


@pytest.mark.thorough
def test_each_part_of_a_definition_is_seen_when_it_changes(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    (dashboard,) = SMALL
    text, card, second = dashboard.tabs[0].cards
    settings = card.visualization_settings
    column = settings.column_settings["month"].model_copy(update={"column_title": "Other"})
    changed_cards = [
        ("name", card.model_copy(update={"title": "Other"})),
        ("description", card.model_copy(update={"description": "Other"})),
        ("display", card.model_copy(update={"display": "line"})),
        ("query", card.model_copy(update={"query": card.query + " desc"})),
        ("dashcards", card.model_copy(update={"position": card.position.model_copy(update={"row": 40})})),
        ("visualization_settings", _with_settings(card, {"comparisons": (3,)})),
        ("visualization_settings", _with_settings(card, {"switch_positive_negative": True})),
        ("visualization_settings", _with_settings(card, {"column_settings": {"month": column}})),
    ]
    tab = dashboard.tabs[0]
    changed = [
        (
            part,
            dashboard.model_copy(update={"tabs": (tab.model_copy(update={"cards": (text, each, second)}),)}),
        )
        for part, each in changed_cards
    ]
    other_text = text.model_copy(update={"text": "Other"})
    changed += [
        ("name", dashboard.model_copy(update={"title": "Other"})),
        ("description", dashboard.model_copy(update={"description": "Other"})),
        ("collection_position", dashboard.model_copy(update={"collection_position": 7})),
        ("description", dashboard.model_copy(update={"owner": SAMPLE[2].owner})),
        ("tabs", dashboard.model_copy(update={"tabs": (tab.model_copy(update={"title": "Other"}),)})),
        (
            "dashcards",
            dashboard.model_copy(
                update={"tabs": (tab.model_copy(update={"cards": (other_text, card, second)}),)}
            ),
        ),
        (
            "parameters",
            dashboard.model_copy(
                update={
                    "filters": tuple(each.model_copy(update={"title": "O"}) for each in dashboard.filters)
                }
            ),
        ),
    ]
    for part, definition in changed:
        details = [line for change in provisioner(fake, [definition]).plan() for line in change.details]
        assert any(line.startswith(part) for line in details), (part, details)


def _with_settings(card: Any, update: dict[str, Any]) -> Any:
    return card.model_copy(
        update={"visualization_settings": card.visualization_settings.model_copy(update=update)}
    )


def test_columns_are_named_as_snowflake_answers_them() -> None:
    with running_metabase(WAREHOUSE, upper=True) as fake:
        ready(fake)
        provisioner(fake).apply()
        card = fake.state.cards[number_of(fake.state.cards, "Gross sales by month and channel")]
        settings = card["visualization_settings"]
        assert settings["graph.dimensions"] == ["MONTH", "SALES_CHANNEL"]
        assert settings["column_settings"]['["name","MONTH"]']["column_title"] == "Month"
        (stage,) = card["dataset_query"]["stages"]
        assert "from MARTS.fct_sales" in stage["native"]
        number = stage["template-tags"]["period"]["dimension"][2]
        assert fake.state.field(number)["name"] == "SOLD_DATE"


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["before", "after"])
def test_killed_at_any_call_and_run_again_it_is_as_if_nothing_had_happened(how: Any) -> None:
    with running_metabase(WAREHOUSE) as whole:
        ready(whole)
        provisioner(whole, SMALL, analysts="Analysts").apply()
        wanted, calls = _shape(whole), len(whole.calls)
    assert calls > 30
    for call in range(1, calls + 1):
        with running_metabase(WAREHOUSE) as fake:
            ready(fake)
            fake.fail(call, how)
            with pytest.raises(MetabaseUnreachable):
                provisioner(fake, SMALL, analysts="Analysts").apply()
            fake.mend()
            provisioner(fake, SMALL, analysts="Analysts").apply()
            assert _shape(fake) == wanted, f"killed {how} call {call}"
            assert actions(provisioner(fake, SMALL, analysts="Analysts").plan()) == {}


@pytest.mark.thorough
def test_killed_at_any_call_of_a_change_and_run_again_it_is_as_if_nothing_had_happened() -> None:
    before = [small(EXECUTIVE, 3), small(SAMPLE[1], 3)]
    tab = EXECUTIVE.tabs[0]
    other = tab.cards[1].model_copy(update={"title": "Other", "query": tab.cards[1].query + " desc"})
    cards = (tab.cards[0], other, tab.cards[3])
    # One card is changed, one is new, one is gone; another dashboard is gone with its collection.
    after = [before[0].model_copy(update={"tabs": (tab.model_copy(update={"cards": cards}),)})]
    with running_metabase(WAREHOUSE) as whole:
        ready(whole)
        provisioner(whole, before).apply()
        whole.calls.clear()
        provisioner(whole, after).apply()
        wanted, calls = _shape(whole), len(whole.calls)
    assert calls > 30
    for call in range(1, calls + 1):
        with running_metabase(WAREHOUSE) as fake:
            ready(fake)
            provisioner(fake, before).apply()
            fake.fail(call, "after")
            with pytest.raises(MetabaseUnreachable):
                provisioner(fake, after).apply()
            fake.mend()
            provisioner(fake, after).apply()
            assert _shape(fake) == wanted, f"killed after call {call}"
            assert actions(provisioner(fake, after).plan()) == {}


@pytest.mark.parametrize("call", [3, 9, 14])
def test_killed_and_run_again_it_converges(fake: FakeMetabase, call: int) -> None:
    fake.fail(call, "after")
    with pytest.raises(MetabaseUnreachable):
        provisioner(fake, SMALL).apply()
    fake.mend()
    provisioner(fake, SMALL).apply()
    assert actions(provisioner(fake, SMALL).plan()) == {}
    assert len(fake.state.cards) == 2
    assert [each["name"] for each in fake.state.dashboards.values()] == ["Executive overview"]


def _shape(fake: FakeMetabase) -> Any:
    """Return what people see, without numbers."""
    state = fake.state
    shown = lambda kind: sorted(  # noqa: E731
        (each["name"], str(each["description"]).partition("[floe")[0])
        for each in kind.values()
        if not each["archived"]
    )
    dashcards = [
        [
            (card["row"], card["col"], bool(card["card_id"]), len(card["parameter_mappings"]))
            for card in each["dashcards"]
        ]
        for each in state.dashboards.values()
        if not each["archived"]
    ]
    return shown(state.collections), shown(state.cards), shown(state.dashboards), dashcards, state.groups


def test_hand_made_objects_are_never_touched_even_of_the_same_name(fake: FakeMetabase) -> None:
    collection = by_hand(fake, "POST", "/collection", {"name": "Leadership"})
    card = {"name": "Orders, last full month", "display": "table", "visualization_settings": {}}
    query = {"type": "native", "database": _database(fake), "native": {"query": "select 1"}}
    made = by_hand(fake, "POST", "/card", {**card, "dataset_query": query, "collection_id": collection["id"]})
    board = by_hand(
        fake, "POST", "/dashboard", {"name": "Executive overview", "collection_id": collection["id"]}
    )
    before = copy.deepcopy(
        (
            fake.state.collections[collection["id"]],
            fake.state.cards[made["id"]],
            fake.state.dashboards[board["id"]],
        )
    )
    provisioner(fake, SMALL).apply()
    provisioner(fake, []).apply()
    assert before == (
        fake.state.collections[collection["id"]],
        fake.state.cards[made["id"]],
        fake.state.dashboards[board["id"]],
    )


def test_a_copy_that_somebody_made_is_theirs(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    original = dashboard_named(fake, "Executive overview")
    copied = by_hand(
        fake,
        "POST",
        "/dashboard",
        {name: original[name] for name in ("name", "description", "collection_id")},
    )
    card = next(iter(fake.state.cards.values()))
    parts = ("name", "description", "display", "dataset_query", "visualization_settings", "collection_id")
    card_copy = by_hand(fake, "POST", "/card", {name: card[name] for name in parts})
    plan = provisioner(fake, SMALL).plan()
    assert actions(plan) == {}
    assert len([change for change in plan if change.kind == "copy"]) == 2
    assert [change.name for change in plan if "dashboard" in change.name and change.kind == "copy"] == [
        f"dashboard {copied['id']} 'Executive overview', copied from dashboard/executive_overview"
    ]
    provisioner(fake, []).apply()
    assert not fake.state.dashboards[copied["id"]]["archived"]
    assert not fake.state.cards[card_copy["id"]]["archived"]
    assert fake.state.dashboards[original["id"]]["archived"]


def test_a_change_by_hand_stops_the_apply_before_anything_is_written(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    board = dashboard_named(fake, "Executive overview")
    by_hand(fake, "PUT", f"/dashboard/{board['id']}", {"name": "My overview"})
    retitled = [SMALL[0].model_copy(update={"title": "Board overview"})]
    fake.calls.clear()
    with pytest.raises(MetabaseChangedByHand, match="dashboard/executive_overview") as caught:
        provisioner(fake, retitled).apply()
    assert "owner Finance Analytics" in str(caught.value)
    assert "--drift overwrite" in str(caught.value)
    assert fake.writes() == []


def test_a_change_by_hand_is_kept_or_undone_as_asked(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    card = next(iter(fake.state.cards))
    name = fake.state.cards[card]["name"]
    by_hand(fake, "PUT", f"/card/{card}", {"name": "Mine", "visualization_settings": {"x": 1}})
    kept = provisioner(fake, SMALL, drift="keep").apply()
    assert [(change.action, change.by_hand) for change in kept if change.action != "none"] == [("keep", True)]
    assert fake.state.cards[card]["name"] == "Mine"
    provisioner(fake, SMALL, drift="overwrite").apply()
    assert fake.state.cards[card]["name"] == name
    assert actions(provisioner(fake, SMALL).plan()) == {}


@pytest.mark.parametrize("written", ["Ours.\n\n{}", "{}\n\nAsk Mia before you change this."])
def test_words_before_or_after_the_mark_are_a_change_by_hand(fake: FakeMetabase, written: str) -> None:
    provisioner(fake, SMALL).apply()
    ((number, board),) = fake.state.dashboards.items()
    by_hand(fake, "PUT", f"/dashboard/{number}", {"description": written.format(board["description"])})
    (change,) = [change for change in provisioner(fake, SMALL).plan() if change.action != "none"]
    assert (change.key, change.by_hand) == ("dashboard/executive_overview", True)


def test_a_card_whose_mark_somebody_took_off_is_still_known(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    number = next(iter(fake.state.cards))
    by_hand(fake, "PUT", f"/card/{number}", {"description": "Mine"})
    with pytest.raises(MetabaseChangedByHand):
        provisioner(fake, SMALL).apply()
    provisioner(fake, SMALL, drift="overwrite").apply()
    assert len(fake.state.cards) == 2
    assert actions(provisioner(fake, SMALL).plan()) == {}


def test_what_somebody_archived_is_a_change_by_hand(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    number = next(iter(fake.state.dashboards))
    by_hand(fake, "PUT", f"/dashboard/{number}", {"archived": True})
    with pytest.raises(MetabaseChangedByHand, match="archived in Metabase by hand"):
        provisioner(fake, SMALL).apply()
    provisioner(fake, SMALL, drift="overwrite").apply()
    assert list(fake.state.dashboards) == [number]
    assert not fake.state.dashboards[number]["archived"]


def test_a_renamed_dashboard_and_card_stay_the_same_objects(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    before = everything(fake)
    (dashboard,) = SMALL
    tab = dashboard.tabs[0]
    cards = tuple(
        card if card.display == "text" else card.model_copy(update={"title": f"New {card.title}"})
        for card in tab.cards
    )
    renamed = dashboard.model_copy(
        update={"title": "New", "tabs": (tab.model_copy(update={"title": "New tab", "cards": cards}),)}
    )
    provisioner(fake, [renamed]).apply()
    after = everything(fake)
    assert before["cards"].keys() == after["cards"].keys()
    (old,), (new,) = before["dashboards"].values(), after["dashboards"].values()
    assert new["name"] == "New"
    assert [tab["id"] for tab in new["tabs"]] == [tab["id"] for tab in old["tabs"]]
    assert [card["id"] for card in new["dashcards"]] == [card["id"] for card in old["dashcards"]]


def test_a_tab_before_another_leaves_that_its_id(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    (board,) = fake.state.dashboards.values()
    (old,) = board["tabs"]
    first = (
        SMALL[0]
        .tabs[0]
        .model_copy(update={"key": "new", "title": "New", "cards": SMALL[0].tabs[0].cards[:1]})
    )
    provisioner(fake, [SMALL[0].model_copy(update={"tabs": (first, SMALL[0].tabs[0])})]).apply()
    new, still = board["tabs"]
    assert (new["name"], still["id"], still["name"]) == ("New", old["id"], old["name"])


def test_a_deleted_definition_is_archived_and_comes_back_as_the_same_object(fake: FakeMetabase) -> None:
    both = [small(each, 3) for each in SAMPLE[:2]]
    provisioner(fake, both).apply()
    numbers = list(fake.state.dashboards), list(fake.state.cards)
    done = provisioner(fake, both[1:]).apply()
    archived = [change.key for change in done if change.action == "archive"]
    assert archived == [
        "dashboard/executive_overview",
        *(f"card/executive_overview/{card.key}" for card in both[0].questions),
        "collection/leadership",
    ]
    assert sum(card["archived"] for card in fake.state.cards.values()) == 2
    assert actions(provisioner(fake, both[1:]).plan()) == {}
    provisioner(fake, both).apply()
    assert (list(fake.state.dashboards), list(fake.state.cards)) == numbers
    assert not any(card["archived"] for card in fake.state.cards.values())
    assert actions(provisioner(fake, both).plan()) == {}


def test_a_collection_with_something_of_somebody_stays(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    collection = number_of(fake.state.collections, "Leadership")
    mine = by_hand(fake, "POST", "/dashboard", {"name": "Mine", "collection_id": collection})
    (kept,) = [change for change in provisioner(fake, []).apply() if change.kind == "collection"]
    assert (kept.action, kept.note) == ("keep", "holds 1 thing(s) that are not Floe's")
    assert not fake.state.dashboards[mine["id"]]["archived"]


def test_columns_that_a_sync_finds_late_are_waited_for() -> None:
    with running_metabase(WAREHOUSE, late=3) as fake:
        ready(fake)
        provisioner(fake, SMALL).apply()
        assert fake.calls.count(f"GET /database/{_database(fake)}/metadata") >= 4
        assert len(fake.state.dashboards) == 1


def test_columns_that_never_appear_leave_everything_as_it_was(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    fake.state.warehouse = {key: columns for key, columns in WAREHOUSE.items() if key[1] != "dim_dates"}
    fake.state.tables.clear()
    fake.calls.clear()
    with pytest.raises(MetabaseSyncLate, match=r"dim_dates\.\w+, .* and \d+ more of marts"):
        provisioner(fake, SMALL, sync_seconds=0).apply()
    assert fake.writes() == []


@pytest.mark.thorough
def test_descriptions_of_dbt_reach_tables_and_columns(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL, marts=EVERY_MART).apply()
    items = next(table for table in fake.state.tables.values() if table["name"] == "dim_items")
    assert items["description"].startswith("Items with the versions the source itself keeps")
    brand = next(each for each in items["fields"] if each["name"] == "brand")
    assert brand["description"] == "Brand."
    assert actions(provisioner(fake, SMALL, marts=EVERY_MART).plan()) == {}


def test_analysts_read_the_collections_and_everybody_else_does_not(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL, analysts="Analysts").apply()
    group = next(str(number) for number, name in fake.state.groups.items() if name == "Analysts")
    ours = {str(number_of(fake.state.collections, "Leadership"))}
    rights = fake.state.graphs["collection"]["groups"]
    assert rights[group] == dict.fromkeys(ours, "read")
    assert {rights["1"][number] for number in ours} == {"none"}
    assert rights["1"]["root"] == "write"
    database = str(_database(fake))
    assert fake.state.graphs["permissions"]["groups"][group][database]["create-queries"] == "query-builder"
    assert actions(provisioner(fake, SMALL, analysts="Analysts").plan()) == {}


@pytest.mark.thorough
def test_rights_that_somebody_else_changes_at_the_same_time_are_read_again(fake: FakeMetabase) -> None:
    theirs: list[str] = []

    def somebody(call: str) -> None:
        if call == "GET /collection/graph" and len(theirs) < 2:
            theirs.append(call)
            fake.state.graphs["collection"]["revision"] += 1

    fake.meanwhile = somebody
    provisioner(fake, SMALL, analysts="Analysts").apply()
    assert len(theirs) == 2
    assert actions(provisioner(fake, SMALL, analysts="Analysts").plan()) == {}


def test_two_applies_at_once_do_no_harm(fake: FakeMetabase) -> None:
    failures: list[BaseException] = []

    def apply() -> None:
        try:
            provisioner(fake, SMALL, analysts="Analysts").apply()
        except MetabaseBusy:
            pass  # the slower one may be told to try again
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)

    both = [threading.Thread(target=apply) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert failures == []
    provisioner(fake, SMALL, analysts="Analysts").apply()
    names = [each["name"] for each in fake.state.dashboards.values() if not each["archived"]]
    assert names == ["Executive overview"]
    assert len(fake.state.cards) == 2
    assert actions(provisioner(fake, SMALL, analysts="Analysts").plan()) == {}


@pytest.mark.thorough
def test_the_slower_of_two_archives_what_it_made_twice(fake: FakeMetabase) -> None:
    begun: list[str] = []

    def another_apply(call: str) -> None:
        if call == "POST /collection" and not begun:
            begun.append(call)
            fake.meanwhile = None
            provisioner(fake, SMALL).apply()

    # The other apply runs as a whole between this one's plan and its first write.
    fake.meanwhile = lambda call: another_apply("POST /collection") if call.startswith("POST /eid") else None
    provisioner(fake, SMALL).apply()
    assert begun
    assert [each["name"] for each in fake.state.dashboards.values() if not each["archived"]] == [
        "Executive overview"
    ]
    assert (
        len(
            [
                each
                for each in fake.state.collections.values()
                if each["name"] == "Leadership" and not each["archived"]
            ]
        )
        == 1
    )
    assert actions(provisioner(fake, SMALL).plan()) == {}


def test_what_was_made_twice_and_left_behind_is_archived(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    collection = number_of(fake.state.collections, "Leadership")
    left = {"name": "Executive overview", "description": "[floe:dashboard/executive_overview]"}
    twin = by_hand(fake, "POST", "/dashboard", left | {"collection_id": collection})
    (change,) = [change for change in provisioner(fake, SMALL).plan() if change.action != "none"]
    assert (change.action, change.number) == ("archive", twin["id"])
    provisioner(fake, SMALL).apply()
    assert number_of(fake.state.dashboards, "Executive overview") != twin["id"]


def test_a_change_between_plan_and_write_is_not_overwritten(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    number = next(iter(fake.state.dashboards))

    def somebody(call: str) -> None:
        if call.startswith("PUT /card"):
            fake.state.dashboards[number]["name"] = "Mine"

    (dashboard,) = SMALL
    tab = dashboard.tabs[0]
    cards = (*tab.cards[:2], tab.cards[2].model_copy(update={"title": "Other"}))
    changed = dashboard.model_copy(
        update={"title": "New", "tabs": (tab.model_copy(update={"cards": cards}),)}
    )
    fake.meanwhile = somebody
    with pytest.raises(MetabaseBusy, match="while it was being applied"):
        provisioner(fake, [changed]).apply()
    assert fake.state.dashboards[number]["name"] == "Mine"


def test_a_dashboard_that_is_kept_keeps_its_cards(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    number, board = next(iter(fake.state.dashboards.items()))
    by_hand(fake, "PUT", f"/dashboard/{number}", {"name": "Mine"})
    shown = [each["card_id"] for each in board["dashcards"]]
    done = provisioner(fake, [small(EXECUTIVE, 2)], drift="keep").apply()
    assert [change.note for change in done if change.action == "keep" and change.kind == "card"] == [
        "still on a dashboard that was changed by hand"
    ]
    assert [each["card_id"] for each in fake.state.dashboards[number]["dashcards"]] == shown


def test_what_metabase_drops_in_silence_is_noticed(fake: FakeMetabase) -> None:
    kept = fake.state._checked_card
    fake.state._checked_card = lambda body: kept({**body, "parameters": []})  # type: ignore[method-assign]
    with pytest.raises(MetabaseIncompatible, match="parameters"):
        provisioner(fake, SMALL).apply()


def test_cards_that_fail_are_named_with_their_owner(fake: FakeMetabase) -> None:
    provisioner(fake, SMALL).apply()
    fake.state.broken["Orders, last full month"] = "no such column"
    ran = provisioner(fake, SMALL).run_cards()
    assert len(ran) == 2
    (failed,) = [card for card in ran if card.error]
    assert (failed.key, failed.error) == ("card/executive_overview/orders_last_month", "no such column")
    assert failed.owner == "Finance Analytics <finance-analytics@example.com>"


def test_the_key_stands_in_no_error(fake: FakeMetabase) -> None:
    client = client_of(fake)
    assert KEY not in repr(client)
    fake.state.keys.clear()
    with pytest.raises(Exception, match="401") as caught:
        client.get("/card/1")
    assert KEY not in repr(caught.value.__dict__) + str(caught.value)


def _database(fake: FakeMetabase) -> int:
    return next(iter(fake.state.databases))
