"""Makes a Metabase as planned, one object at a time, each read back after it was written.

Whoever is killed leaves whole objects behind: a card or a dashboard is one request, and what was begun is
known by its mark. Two that apply at once may make a collection or a dashboard twice, since Metabase takes
no id for those; both then choose the same one and archive the other. A card cannot be made twice: its
entity id is Floe's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.errors import FloeError
from blocks.metabase_client import Document, MetabaseClient
from blocks.metabase_errors import (
    MetabaseBusy,
    MetabaseChangedByHand,
    MetabaseIncompatible,
    MetabaseRequestRefused,
    MetabaseUnreachable,
)
from blocks.metabase_inventory import Found, Inventory
from blocks.metabase_marker import ARCHIVED, Marker, digest, entity_id, marked, unmarked
from blocks.metabase_plan import Change, differences
from blocks.metabase_rendering import Content, Kind, Managed
from blocks.metabase_settings import Drift

_DIFFERENCES_SHOWN = 5


def refuse_changes_by_hand(changes: Sequence[Change], drift: Drift) -> None:
    """Stop before anything is written, unless it was said what becomes of changes by hand.

    Raises:
        MetabaseChangedByHand: naming each object.
    """
    by_hand = [change for change in changes if change.by_hand]
    if drift == "refuse" and by_hand:
        named = "; ".join(f"{change.key} ({change.name}): {change.note}" for change in by_hand)
        raise MetabaseChangedByHand(
            f"{len(by_hand)} object(s) of Floe's are not as Floe left them: {named}",
            state="nothing was written",
            next_command="take the changes into deployments/dashboards/, or `floe dashboards apply` "
            "with --drift keep (leave those alone) or --drift overwrite (undo them)",
        )


@dataclass
class ObjectWriter:
    """Carries out a plan.

    Attributes:
        client: the server.
        inventory: what is there; kept up to date.
    """

    client: MetabaseClient
    inventory: Inventory

    def carry_out(self, managed: Sequence[Managed], changes: Sequence[Change]) -> list[Change]:
        """Do what is planned, in its order.

        Args:
            managed: what is wanted.
            changes: of `plan_objects`.

        Returns:
            What was done: the plan, less what turned out to hold something that is not Floe's.

        Raises:
            MetabaseIncompatible: Metabase kept something else than it was sent.
            MetabaseBusy: somebody changed the same object meanwhile.
        """
        wanted = {each.key: each for each in managed}
        return [self._do(change, wanted) for change in changes]

    def _do(self, change: Change, wanted: dict[str, Managed]) -> Change:
        if change.action == "create":
            self._create(wanted[change.key])
        elif change.action in ("update", "restore"):
            managed = wanted[change.key]
            self._write(managed.kind, managed.key, managed.content, self.inventory.found[managed.key])
        elif change.action == "archive":
            return self._archive_unless_used(change)
        return change

    def _create(self, managed: Managed) -> None:
        if managed.kind == "card":
            self._create_card(managed)
            return
        number = self._create_once(managed)
        self.inventory.remember(managed.key, number)
        self._write(managed.kind, managed.key, managed.content, None)

    def _create_card(self, managed: Managed) -> None:
        body = self._body("card", managed.content, {}) | {
            "description": marked(managed.content["description"], _marker(managed, None)),
            "entity_id": entity_id(managed.key),
        }
        try:
            number = int(self.client.post("/card", body)["id"])
        except (MetabaseRequestRefused, MetabaseBusy, MetabaseUnreachable):
            # Another apply may have made it, or this one whose answer was lost: then it is there.
            made = self.inventory.card_numbers([managed.key])
            if managed.key not in made:
                raise
            number = made[managed.key]
        self.inventory.remember(managed.key, number)
        self._write("card", managed.key, managed.content, None)

    def _create_once(self, managed: Managed) -> int:
        """Make a collection or a dashboard, unless another apply made it a moment ago."""
        content = managed.content
        body: Document = {
            "name": content["name"],
            "description": marked(content["description"], Marker(managed.key)),
        }
        inside = None
        if managed.kind == "dashboard":
            inside = self.inventory.number_of(content["collection"])
            body["collection_id"] = inside
        else:
            body["parent_id"] = None
        own = int(self.client.post(f"/{managed.kind}", body)["id"])
        rows = self.inventory.rows_in(managed.kind, inside)
        first = [*self.inventory.candidates(managed.kind, managed.key, rows), own][0]
        if first != own:
            self._archive(self.inventory.read_one(managed.kind, own))
        return first

    def _write(self, kind: Kind, key: str, content: Content, planned: Found | None) -> None:
        """Make one object as it is to be, unless it is, and read it back.

        Args:
            kind: of object.
            key: of its definition.
            content: what it is to be.
            planned: the object as it was planned with; None for one that was just made.
        """
        number = self.inventory.number_of(key)
        current = self.inventory.read_one(kind, number)
        marker = Marker(key, None if kind == "card" else number, digest(content))
        if _is_as_wanted(current, content, marker):
            return
        if planned is not None and current.digest not in (planned.digest, digest(content)):
            raise MetabaseBusy(
                f"Somebody changed {key} ({content['name']}) in Metabase while it was being applied",
                state="what comes before it in the plan was written, it and the rest not",
                next_command="floe dashboards plan",
            )
        body = self._body(kind, content, current.document)
        body["description"] = marked(content["description"], marker)
        if current.archived:
            body["archived"] = False
        self.client.put(f"/{kind}/{number}", body)
        after = self.inventory.read_one(kind, number)
        if not _is_as_wanted(after, content, marker):
            raise _kept_otherwise(after, content)

    def _body(self, kind: Kind, content: Content, current: Document) -> Document:
        translator = self.inventory.translator
        if kind == "card":
            return translator.card_body(content)
        if kind == "dashboard":
            return translator.dashboard_body(content, current)
        return {"name": content["name"]}

    def _archive_unless_used(self, change: Change) -> Change:
        found = next(
            each
            for each in self.inventory.all_found()
            if each.number == change.number and each.kind == change.kind
        )
        if found.kind == "collection" and (inside := self.inventory.count_in(found.number)):
            return replace(change, action="keep", note=f"holds {inside} thing(s) that are not Floe's")
        self._archive(found)
        return change

    def _archive(self, found: Found) -> None:
        text, _ = unmarked(found.document.get("description"))
        marker = Marker(found.marker.key, None if found.kind == "card" else found.number, ARCHIVED)
        self.client.put(
            f"/{found.kind}/{found.number}", {"archived": True, "description": marked(text, marker)}
        )
        if not self.inventory.read_one(found.kind, found.number).archived:
            raise MetabaseIncompatible(
                f"Metabase did not archive {found.marker.key} ({found.kind} {found.number})"
            )


def _marker(managed: Managed, number: int | None) -> Marker:
    return Marker(managed.key, number, digest(managed.content))


def _is_as_wanted(found: Found, content: Content, marker: Marker) -> bool:
    return found.content == content and found.marker == marker and not found.archived


def _kept_otherwise(found: Found, content: Content) -> FloeError:
    shown = [*differences(content, found.content)] or [f"its mark is {found.marker}"]
    some = "; ".join(" ".join(line.split()) for line in shown[:_DIFFERENCES_SHOWN])
    return MetabaseIncompatible(
        f"Metabase kept something else than it was sent for {found.marker.key} "
        f"({found.kind} {found.number}): {some}",
        state="it and what comes before it in the plan were written, the rest not",
        next_command="if nobody changed it at the same moment, this version of Metabase is not supported",
    )
