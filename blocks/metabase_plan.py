"""What is to be done to a Metabase so that it has what the definitions say."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blocks.metabase_inventory import Found, Inventory
from blocks.metabase_marker import ARCHIVED, digest
from blocks.metabase_rendering import Content, Managed
from blocks.metabase_settings import Drift

Action = Literal["create", "update", "restore", "archive", "keep", "none"]

_SHOWN = 70
_LINES_SHOWN = 8


@dataclass(frozen=True)
class Change:
    """What is to be done to one object.

    Attributes:
        kind: of object.
        key: of its definition.
        name: as people see it.
        action: "keep" where somebody changed it and it is to stay so.
        details: for updates, what differs.
        note: what a reader should know of it.
        by_hand: whether somebody changed it in Metabase since Floe wrote it.
        number: of the object on the server, for those that are to be archived.
    """

    kind: str
    key: str
    name: str
    action: Action
    details: tuple[str, ...] = ()
    note: str = ""
    by_hand: bool = False
    number: int | None = None


def plan_objects(managed: Sequence[Managed], inventory: Inventory, drift: Drift) -> list[Change]:
    """Compare what is wanted with what is there.

    Args:
        managed: what is wanted.
        inventory: what is there.
        drift: what becomes of objects that were changed by hand; "refuse" plans like "overwrite", since
            whoever applies refuses before anything is written.
    """
    wanted = {each.key for each in managed}
    changes = [_wanted(each, inventory.found.get(each.key), drift) for each in managed]
    gone = [each for key, each in inventory.found.items() if key not in wanted and not each.archived]
    kept = {
        card["card"]
        for change in changes
        if change.action == "keep" and change.kind == "dashboard"
        for card in inventory.found[change.key].content["dashcards"]
    }
    # Dashboards let go of their cards first, collections of everything.
    order = {"dashboard": 0, "card": 1, "collection": 2}
    removed = [_unwanted(each, drift, kept) for each in sorted(gone, key=lambda each: order[each.kind])]
    twice = [
        _unwanted(each, drift, set(), "made twice: another apply was faster") for each in inventory.abandoned
    ]
    return changes + twice + removed


def _wanted(managed: Managed, found: Found | None, drift: Drift) -> Change:
    def change(
        action: Action, details: Iterator[str] | None = None, note: str = "", by_hand: bool = False
    ) -> Change:
        shown = tuple(details) if details else ()
        name = str(managed.content["name"])
        return Change(managed.kind, managed.key, name, action, shown, note, by_hand)

    if found is None:
        return change("create")
    if found.archived and found.marker.digest == ARCHIVED:
        return change("restore", note="archived when its definition was gone")
    if found.content == managed.content and not found.archived:
        if found.marker.digest == digest(managed.content):
            return change("none")
        return change("update", note="only its mark")
    shown = differences(found.content, managed.content)
    if found.unfinished:
        return change("update", shown, "an apply was interrupted here")
    if not found.archived and not found.changed_by_hand:
        return change("update", shown)
    how = "archived" if found.archived else "changed"
    note = f"{how} in Metabase by hand; owner {managed.owner}"
    if drift == "keep":
        return change("keep", shown, note, by_hand=True)
    return change("restore" if found.archived else "update", shown, note, by_hand=True)


def _unwanted(
    found: Found, drift: Drift, kept: set[str | None], why: str = "no definition any more"
) -> Change:
    action: Action = "archive"
    if found.changed_by_hand:
        why += ", and changed in Metabase by hand"
        action = "keep" if drift == "keep" else "archive"
    elif found.marker.key in kept:
        why, action = "still on a dashboard that was changed by hand", "keep"
    return Change(
        kind=found.kind,
        key=found.marker.key,
        name=str(found.content["name"]),
        action=action,
        note=why,
        by_hand=found.changed_by_hand,
        number=found.number,
    )


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Yield "place: old → new" for every difference of two contents."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from differences(old.get(name), new.get(name), f"{where}.{name}" if where else str(name))
    elif isinstance(old, list) and isinstance(new, list) and _are_objects(old, new):
        yield from _list_differences(old, new, where)
    elif isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
        yield from _text_differences(old, new, where)
    else:
        yield f"{where}: {_short(old)} → {_short(new)}"


def _are_objects(*lists: list[Any]) -> bool:
    return all(isinstance(each, Mapping) for entries in lists for each in entries)


def _list_differences(old: list[Content], new: list[Content], where: str) -> Iterator[str]:
    before, after = _labelled(old), _labelled(new)
    yield from (f"{where}: − {label}" for label in before if label not in after)
    yield from (f"{where}: + {label}" for label in after if label not in before)
    for label, content in after.items():
        if label in before:
            yield from differences(before[label], content, f"{where}[{label}]")
    shared = [label for label in before if label in after]
    if shared != [label for label in after if label in before]:
        yield f"{where}: in another order"


def _labelled(entries: list[Content]) -> dict[str, Content]:
    """Return the entries by what names them: a card, a slug, words, else their place."""
    labelled: dict[str, Content] = {}
    for number, entry in enumerate(entries):
        words = (entry.get("visualization_settings") or {}).get("text")
        label = entry.get("card") or entry.get("slug") or words or entry.get("name") or f"#{number + 1}"
        label = _short(str(label).splitlines()[0])
        labelled[f"{label} #{number + 1}" if label in labelled else label] = entry
    return labelled


def _text_differences(old: str, new: str, where: str) -> Iterator[str]:
    lines = [
        line
        for line in difflib.unified_diff(old.splitlines(), new.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    yield f"{where}:"
    yield from (f"  {line}" for line in lines[:_LINES_SHOWN])
    if len(lines) > _LINES_SHOWN:
        yield f"  ... {len(lines) - _LINES_SHOWN} more lines"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
