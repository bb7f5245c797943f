"""What the ledger decides, without a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.ledger import (
    Candidate,
    LedgerRow,
    decide,
    decide_all,
    is_settled,
    ledger_row,
    newest_uploads,
)
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.staging import Staged
from lambda_csv_loader.validate import Report

NOON = datetime(2003, 1, 2, 12, tzinfo=UTC)
COLUMNS = [{"name": "day", "type": "bigint", "nullable": False}]


def contract(**more: object) -> Contract:
    return Contract.model_validate(
        {"dataset": "d", "owner": "o", "columns": COLUMNS, "mode": "append", **more}
    )


DAILY = contract(mode="snapshot", partition_by="day")
WHOLE = contract(mode="snapshot")


def candidate(
    key: str,
    minute: int = 0,
    etag: str = "e",
    sha: str | None = None,
    day: str | None = None,
    force: bool = False,
) -> Candidate:
    ref = ObjectRef("b", key, etag=etag, last_modified=NOON + timedelta(minutes=minute), size=1)
    staged = Staged(None, rows=1, partition=day)
    row = ledger_row(ref, "d", "loaded", report=Report(staged=staged, sha256=sha or f"{key}{etag}"))
    return Candidate(row, staged, force)


def all_current(rows: Sequence[LedgerRow]) -> list[str | None]:
    return [None] * len(rows)


def statuses(candidates: list[Candidate], known: list[LedgerRow], rules: Contract) -> list[tuple[str, bool]]:
    return [(made.row.status, made.known) for made in decide_all(candidates, known, rules, all_current)]


def test_a_new_file_is_loaded() -> None:
    assert statuses([candidate("a")], [], contract()) == [("loaded", False)]


def test_the_same_upload_again_is_known() -> None:
    first = candidate("a")
    assert statuses([first], [first.row], contract()) == [("loaded", True)]


def test_force_loads_again() -> None:
    first = candidate("a")
    made = decide(candidate("a", force=True), [first.row], contract())
    assert (made.known, made.row.attempts, made.previous) == (False, 2, first.row)


def test_newer_version_of_a_key_replaces_the_older() -> None:
    old = candidate("a", 0, "e1")
    made = decide(candidate("a", 1, "e2"), [old.row], contract())
    assert [other.file_id for other in made.superseded] == [old.row.file_id]


def test_bytes_put_back_after_another_version_are_loaded_again() -> None:
    first = candidate("a", 0, "e1").row._replace(status="superseded")
    second = candidate("a", 1, "e2").row
    assert statuses([candidate("a", 2, "e1")], [first, second], contract()) == [("loaded", False)]


def test_late_event_of_a_superseded_upload_is_known() -> None:
    first = candidate("a", 0, "e1").row._replace(status="superseded")
    assert statuses([candidate("a", 0, "e1")], [first], contract()) == [("superseded", True)]


def test_older_file_of_a_partition_never_replaces_a_newer_one() -> None:
    newer = candidate("b", 5, day="7")
    made = decide(candidate("a", 0, day="7"), [newer.row], DAILY)
    assert (made.row.status, made.row.reason) == ("superseded", "b is newer and holds the same day")


def test_another_partition_is_left_alone() -> None:
    made = decide(candidate("a", 0, day="8"), [candidate("b", 5, day="7").row], DAILY)
    assert (made.row.status, made.superseded) == ("loaded", [])


def test_whole_table_snapshot_replaces_every_file() -> None:
    others = [candidate("b", 1).row, candidate("c", 2).row]
    assert decide(candidate("a", 3), others, WHOLE).superseded == others


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["in-order", "reversed"])
def test_within_a_group_the_newest_of_a_partition_wins(order: list[int]) -> None:
    both = [candidate("a", 0, day="7"), candidate("b", 5, day="7")]
    made = decide_all([both[number] for number in order], [], DAILY, all_current)
    assert {one.row.key: one.row.status for one in made} == {"a": "superseded", "b": "loaded"}
    assert all(not one.superseded for one in made)


def test_same_content_within_a_group_is_loaded_once() -> None:
    made = statuses([candidate("a", 0, sha="s"), candidate("b", 1, sha="s")], [], contract())
    assert made == [("loaded", False), ("skipped", False)]


def test_same_content_is_loaded_where_the_contract_says_so() -> None:
    made = statuses(
        [candidate("b", 1, sha="s")], [candidate("a", sha="s").row], contract(same_content="load")
    )
    assert made == [("loaded", False)]


def test_an_upload_that_was_overwritten_meanwhile_is_not_loaded() -> None:
    made = decide_all([candidate("a")], [], contract(), lambda rows: ["overwritten"])
    assert (made[0].row.status, made[0].row.reason) == ("superseded", "overwritten")


@pytest.mark.parametrize(
    ("status", "later", "settled"),
    [
        ("loaded", False, True),
        ("loaded", True, False),
        ("skipped", False, True),
        ("skipped", True, False),
        ("missing", False, False),
        ("quarantined", False, True),
        ("quarantined", True, False),
        ("superseded", False, True),
        ("superseded", True, False),
    ],
)
def test_what_a_status_settles(status: str, later: bool, settled: bool) -> None:
    row = candidate("a", sha="s").row._replace(status=status)  # type: ignore[arg-type]
    assert is_settled(row, NOON + timedelta(seconds=1) if later else NOON, {"s"}) is settled


def test_a_copy_is_settled_only_while_its_twin_is_loaded() -> None:
    copy = candidate("b", 1, sha="s").row._replace(status="skipped")
    assert is_settled(copy, copy.last_modified, {"s"})
    assert not is_settled(copy, copy.last_modified, set())
    assert statuses([candidate("b", 1, sha="s")], [copy], contract()) == [("loaded", False)]


def test_a_copy_is_a_rival_of_older_files() -> None:
    monday = candidate("mon", 0, sha="x").row
    wednesday = candidate("wed", 2, sha="x").row._replace(status="skipped")
    made = decide(candidate("tue", 1, sha="y"), [monday, wednesday], WHOLE)
    assert (made.row.status, made.row.reason) == ("superseded", "wed is newer and holds the same table")


def test_a_newer_file_takes_the_place_of_copies_too() -> None:
    monday = candidate("mon", 0, sha="x").row
    wednesday = candidate("wed", 2, sha="x").row._replace(status="skipped")
    assert decide(candidate("thu", 3, sha="y"), [monday, wednesday], WHOLE).superseded == [monday, wednesday]


def test_a_copy_is_loaded_in_an_upsert() -> None:
    made = statuses(
        [candidate("b", 2, sha="s")],
        [candidate("a", 0, sha="s").row],
        contract(mode="upsert", primary_key=["day"]),
    )
    assert made == [("loaded", False)]


def test_the_same_bytes_put_again_are_a_later_upload() -> None:
    first = candidate("a", 0, day="7")
    again = decide(candidate("a", 10, day="7"), [first.row], DAILY)
    assert (again.row.status, again.row.last_modified) == ("loaded", NOON + timedelta(minutes=10))
    late = decide(candidate("b", 5, day="7"), [again.row], DAILY)
    assert late.row.status == "superseded"


@pytest.mark.parametrize("good", [True, False], ids=["good", "refused-as-well"])
def test_a_refused_version_is_superseded_by_the_next(good: bool) -> None:
    refused = candidate("a", 0, "e1").row._replace(status="quarantined")
    newer = candidate("a", 1, "e2")
    if not good:
        newer.row, newer.staged = newer.row._replace(status="quarantined"), None
    assert decide(newer, [refused], contract()).superseded == [refused]


def test_a_second_look_that_refuses_a_loaded_file_leaves_its_rows() -> None:
    loaded = candidate("a").row
    again = candidate("a", force=True)
    again.row, again.staged = again.row._replace(status="quarantined", reason="type: no"), None
    made = decide(again, [loaded], contract())
    assert (made.row.status, made.rows_stay) == ("loaded", True)
    assert made.row.reason == "kept, though loading it again ended quarantined: type: no"


def test_a_loaded_file_that_was_overwritten_before_it_is_loaded_again_keeps_its_row() -> None:
    loaded = candidate("a").row
    (made,) = decide_all([candidate("a", force=True)], [loaded], contract(), lambda rows: ["overwritten"])
    assert (made.known, made.row) == (True, loaded)


def test_a_listing_finds_the_newest_of_equal_versions() -> None:
    first = candidate("a", 0).row._replace(version_id="1", status="superseded")
    second = candidate("a", 1).row._replace(version_id="2")
    assert newest_uploads([second, first]) == {("a", "e"): second}


def test_file_id_tells_bucket_key_and_version_apart() -> None:
    refs = [
        ObjectRef("b", "k", etag="e"),
        ObjectRef("c", "k", etag="e"),
        ObjectRef("b", "l", etag="e"),
        ObjectRef("b", "k", etag="f"),
        ObjectRef("b", "k", etag="e", version_id="1"),
        ObjectRef("b", "k", etag="e", version_id="2"),
    ]
    assert len({ref.file_id for ref in refs}) == len(refs)
    assert ObjectRef("b", "k", etag="e", size=5, sequencer="x").file_id == refs[0].file_id
