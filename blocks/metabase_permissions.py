"""Who may do what: a group of analysts that reads Floe's collections and asks the marts, and changes nothing.

Rights add up over groups and everybody is in All Users, so what analysts may not do is taken from All Users
too, on Floe's collections and database alone. Metabase's open-source edition cannot hide data from a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blocks.metabase_client import Document, MetabaseClient
from blocks.metabase_errors import MetabaseBusy, MetabaseIncompatible, MetabaseRequestRefused
from blocks.metabase_plan import Action, Change

Graph = Literal["permissions", "collection"]
Rights = dict[str, dict[str, Any]]

_ALL_USERS = "All Users"
_TRIES = 5
_NO_QUERIES = {"view-data": "unrestricted", "create-queries": "no"}
_OWN_QUESTIONS = {"view-data": "unrestricted", "create-queries": "query-builder"}


@dataclass(frozen=True)
class Permissions:
    """What a group of analysts is to have.

    Attributes:
        client: of an administrator.
        analysts: name of the group.
    """

    client: MetabaseClient
    analysts: str

    def plan(
        self, collections: Sequence[int], database_id: int | None, new_collections: Sequence[str] = ()
    ) -> list[Change]:
        """Compare groups and rights with what they are to be.

        Args:
            collections: of Floe, as far as they are there.
            database_id: of the marts; None while it is not there.
            new_collections: names of those that are to be made.
        """
        groups = self._groups()
        if self.analysts not in groups:
            return [Change("group", "group", self.analysts, "create")]
        changes = []
        for graph, wanted in self._wanted(groups, collections, database_id).items():
            shown = _differing(wanted, self.client.get(f"/{graph}/graph")["groups"])
            if graph == "collection":
                shown += [f"{name}: read for this group, none for {_ALL_USERS}" for name in new_collections]
            action: Action = "update" if shown else "none"
            changes.append(Change("rights", graph, self.analysts, action, tuple(shown)))
        return changes

    def apply(self, collections: Sequence[int], database_id: int) -> None:
        """Make the group and give it its rights.

        Raises:
            MetabaseBusy: somebody changes rights at the same time, again and again.
        """
        if self.analysts not in self._groups():
            try:
                self.client.post("/permissions/group", {"name": self.analysts})
            except MetabaseRequestRefused:
                # Another apply made it a moment ago.
                if self.analysts not in self._groups():
                    raise
        for graph, wanted in self._wanted(self._groups(), collections, database_id).items():
            self._give(graph, wanted)

    def _groups(self) -> dict[str, str]:
        return {group["name"]: str(group["id"]) for group in self.client.get("/permissions/group")}

    def _wanted(
        self, groups: dict[str, str], collections: Sequence[int], database_id: int | None
    ) -> dict[Graph, Rights]:
        analysts, everybody = groups[self.analysts], groups.get(_ALL_USERS, "1")
        databases = [] if database_id is None else [str(database_id)]
        return {
            "collection": {
                analysts: {str(number): "read" for number in collections},
                everybody: {str(number): "none" for number in collections},
            },
            "permissions": {
                analysts: dict.fromkeys(databases, _OWN_QUESTIONS),
                everybody: dict.fromkeys(databases, _NO_QUERIES),
            },
        }

    def _give(self, graph: Graph, wanted: Rights) -> None:
        """Change a graph; another writer's revision is read and the change made on top of it."""
        for _ in range(_TRIES):
            there: Document = self.client.get(f"/{graph}/graph")
            if not [*_differing(wanted, there["groups"])]:
                return
            groups = {group: {**there["groups"].get(group, {}), **rights} for group, rights in wanted.items()}
            try:
                self.client.put(f"/{graph}/graph", {"revision": there["revision"], "groups": groups})
            except MetabaseBusy:
                continue
            left = [*_differing(wanted, self.client.get(f"/{graph}/graph")["groups"])]
            if left:
                raise MetabaseIncompatible(f"Metabase did not keep these rights: {'; '.join(left)}")
            return
        raise MetabaseBusy(
            f"Somebody changes the {graph} graph of Metabase again and again",
            state="dashboards are applied, rights are as they were",
            next_command="floe dashboards apply",
        )


def _differing(wanted: Rights, there: Rights) -> list[str]:
    """Return "group g, thing t: old → new"; Metabase leaves "none" out of its answers, so it is the same."""
    shown = []
    for group, rights in wanted.items():
        for thing, right in rights.items():
            old = there.get(group, {}).get(thing)
            if isinstance(right, dict):
                have = (old or {}).get("create-queries", "no")
                same, have_shown, want_shown = have == right["create-queries"], have, right["create-queries"]
            else:
                have_shown, want_shown = old or "none", right
                same = have_shown == want_shown
            if not same:
                shown.append(f"group {group}, {thing}: {have_shown} → {want_shown}")
    return shown
