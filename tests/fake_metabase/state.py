"""What the fake keeps: the answers of each call, under one lock (`server.py`)."""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.fake_metabase import queries
from tests.fake_metabase.bodies import (
    Document,
    Refused,
    bad,
    check_dashcard,
    check_parameters,
    check_tab,
    declared,
)
from tests.fake_metabase.databases import NOW, Databases

ADMINISTRATORS, ALL_USERS = 2, 1
# Of those who ask for pages at all; short, so that there are several.
_LONGEST_PAGE = 10


@dataclass
class State(Databases):
    """One server.

    Attributes:
        broken: error by name of card that cannot be run.
        slow: milliseconds by name of card.
    """

    broken: dict[str, str] = field(default_factory=dict)
    slow: dict[str, int] = field(default_factory=dict)
    setup_token: str | None = field(default_factory=lambda: str(uuid4()))
    users: list[Document] = field(default_factory=list)
    passwords: dict[str, str] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    keys: dict[str, Document] = field(default_factory=dict)
    collections: dict[int, Document] = field(default_factory=dict)
    cards: dict[int, Document] = field(default_factory=dict)
    dashboards: dict[int, Document] = field(default_factory=dict)
    groups: dict[int, str] = field(
        default_factory=lambda: {ALL_USERS: "All Users", ADMINISTRATORS: "Administrators"}
    )
    settings: Document = field(default_factory=dict)
    graphs: dict[str, Document] = field(
        default_factory=lambda: {
            "permissions": {"revision": 0, "groups": {}},
            "collection": {"revision": 0, "groups": {"1": {"root": "write"}, "2": {"root": "write"}}},
        }
    )

    def __post_init__(self) -> None:
        self.trash = self._new_collection({"name": "Trash", "type": "trash"})

    # -- start-up, users, keys

    def properties(self) -> Document:
        return {
            "setup-token": self.setup_token,
            "has-user-setup": bool(self.users),
            "version": {"tag": "v0.64.1", "hash": "fake", "date": "2026-10-01", "branch": "fake"},
            "token-features": {},
            "site-name": self.settings.get("site-name", "fake"),
        }

    def setup(self, body: Document) -> Document:
        if self.users:
            raise Refused(403, "The /api/setup route can only be used to create the first user.")
        if body["token"] != self.setup_token:
            raise bad("token", "Token does not match the setup token.")
        declared(
            "user", body["user"], {"email", "password", "first_name", "last_name"}, ("email", "password")
        )
        declared("prefs", body["prefs"], {"site_name", "site_locale"}, ("site_name",))
        if len(body["user"]["password"]) < 8:
            raise bad("password", "password is too common.")
        self.setup_token = None
        email = body["user"]["email"]
        user = {"id": self.next_id(), "email": email, "is_superuser": True, "common_name": "Admin"}
        self.users.append(user)
        self.passwords[email] = body["user"]["password"]
        self._new_collection({"name": "Admin's Personal Collection", "personal_owner_id": user["id"]})
        return self._session()

    def log_in(self, body: Document) -> Document:
        if self.passwords.get(body["username"]) != body["password"]:
            raise Refused(401, {"errors": {"password": "did not match stored password"}})
        return self._session()

    def _session(self) -> Document:
        session = str(uuid4())
        self.sessions.add(session)
        return {"id": session}

    def new_key(self, body: Document) -> Document:
        if body["name"] in (key["name"] for key in self.keys.values()):
            raise bad("name", "An API key with this name already exists.")
        if body["group_id"] not in self.groups:
            raise bad("group_id", "no such group")
        shown = "mb_" + secrets.token_urlsafe(32)
        self.keys[shown] = {"id": self.next_id(), "name": body["name"], "group": {"id": body["group_id"]}}
        return {**self.keys[shown], "unmasked_key": shown, "masked_key": shown[:7] + "****"}

    # -- collections

    def _new_collection(self, body: Document) -> int:
        number = self.next_id()
        self.collections[number] = {
            "id": number,
            "entity_id": secrets.token_urlsafe(16)[:21],
            "slug": re.sub(r"\W+", "_", body["name"].lower()),
            "description": None,
            "archived": False,
            "authority_level": None,
            "namespace": None,
            "type": None,
            "personal_owner_id": None,
            "location": "/",
            "parent_id": None,
            "is_personal": body.get("personal_owner_id") is not None,
            "can_write": True,
            "created_at": NOW,
            **body,
        }
        return number

    def new_collection(self, body: Document) -> Document:
        if body.get("parent_id") is not None:
            self._open_collection(body["parent_id"])
        return self.collections[self._new_collection(body)]

    def change_collection(self, number: int, body: Document) -> Document:
        known = self.known(self.collections, number)
        known.update(body)
        if body.get("archived"):
            # The whole content goes along, as in the real server.
            for kind in (self.cards, self.dashboards):
                for each in kind.values():
                    if each["collection_id"] == number:
                        each["archived"] = True
        return known

    def collections_listed(self, query: Mapping[str, list[str]]) -> list[Document]:
        archived = query.get("archived") == ["true"]
        rows = [
            each
            for each in self.collections.values()
            if each["archived"] == archived and each["type"] != "trash"
        ]
        return rows if archived else [{"id": "root", "name": "Our analytics", "is_personal": False}, *rows]

    def items(self, where: str, query: Mapping[str, list[str]]) -> Document:
        archived = query.get("archived") == ["true"]
        in_trash = where == str(self.trash)
        number = None if where == "root" else int(where)
        models = query.get("models") or ["card", "dashboard", "collection"]
        kinds = {"card": self.cards, "dashboard": self.dashboards}
        rows = [
            {
                **{
                    name: each.get(name)
                    for name in ("id", "entity_id", "name", "description", "archived", "display")
                },
                "model": model,
                "collection_id": each["collection_id"],
            }
            for model, objects in kinds.items()
            if model in models
            for each in objects.values()
            if each["archived"] == archived and (in_trash or each["collection_id"] == number)
        ]
        if "collection" in models:
            rows += [
                {**each, "model": "collection"}
                for each in self.collections.values()
                if each["archived"] == archived and each["parent_id"] == number and each["type"] is None
            ]
        limit, offset = (int(query.get(name, ["0"])[0]) for name in ("limit", "offset"))
        limit = min(limit, _LONGEST_PAGE)
        return {
            "total": len(rows),
            "data": rows[offset : offset + limit] if limit else rows[offset:],
            "limit": limit,
            "offset": offset,
            "models": models,
        }

    def _open_collection(self, number: int | None) -> None:
        if number is not None and self.known(self.collections, number)["archived"]:
            raise bad("collection_id", "the collection is archived")

    # -- cards

    def new_card(self, body: Document) -> Document:
        if body.get("entity_id") in [card["entity_id"] for card in self.cards.values()]:
            raise Refused(500, "Unique index or primary key violation: entity_id")
        card = {
            "id": self.next_id(),
            "description": None,
            "parameters": [],
            "collection_id": None,
            "type": "question",
            "archived": False,
            "parameter_mappings": [],
            "cache_ttl": None,
            "enable_embedding": False,
            "made_public_by_id": None,
            "public_uuid": None,
            "table_id": None,
            "query_type": "native",
            "result_metadata": [],
            "creator_id": 1,
            "can_write": True,
            "created_at": NOW,
            "updated_at": NOW,
            **self._checked_card(body),
        }
        card["entity_id"] = body.get("entity_id") or secrets.token_urlsafe(16)[:21]
        self.cards[card["id"]] = card
        return card

    def change_card(self, number: int, body: Document) -> Document:
        card = self.known(self.cards, number)
        card.update(self._checked_card(body))
        if body.get("archived"):
            for dashboard in self.dashboards.values():
                dashboard["dashcards"] = [
                    each for each in dashboard["dashcards"] if each["card_id"] != number
                ]
        return card

    def _checked_card(self, body: Document) -> Document:
        self._open_collection(body.get("collection_id"))
        check_parameters(body.get("parameters"), of_card=True)
        if "dataset_query" not in body:
            return body
        if body["dataset_query"].get("database") not in self.databases:
            raise bad("dataset_query.database", "no such database")
        query = queries.stored(body["dataset_query"], self._base_type)
        return {**body, "dataset_query": query, "database_id": query["database"]}

    def _base_type(self, number: int) -> str:
        try:
            return str(self.field(number)["base_type"])
        except Refused:
            raise bad("template-tags.dimension", f"no field {number}") from None

    def run_card(self, number: int) -> Document:
        card = self.known(self.cards, number)
        error = self.broken.get(card["name"]) or self._missing_table(card)
        if error:
            return {
                "status": "failed",
                "error": error,
                "row_count": 0,
                "running_time": 3,
                "data": {"rows": [], "cols": []},
            }
        return {
            "status": "completed",
            "row_count": 1,
            "running_time": self.slow.get(card["name"], 12),
            "data": {"rows": [[1]], "cols": [{"name": "x", "base_type": "type/Integer"}]},
        }

    def _missing_table(self, card: Document) -> str | None:
        sql, _ = queries.sql_and_tags(card["dataset_query"])
        tables = {f"{table['schema']}.{table['name']}".lower() for table in self.tables.values()}
        schemas = "|".join({schema for schema, _ in self.warehouse})
        read = re.findall(rf"\b(?:from|join)\s+((?:{schemas})\.\w+)", sql, re.IGNORECASE)
        return next((f"no table {name}" for name in read if name.lower() not in tables), None)

    # -- dashboards

    def new_dashboard(self, body: Document) -> Document:
        self._open_collection(body.get("collection_id"))
        check_parameters(body.get("parameters"), of_card=False)
        number = self.next_id()
        self.dashboards[number] = {
            "id": number,
            "entity_id": secrets.token_urlsafe(16)[:21],
            "description": None,
            "collection_id": None,
            "collection_position": None,
            "parameters": [],
            "archived": False,
            "width": "fixed",
            "auto_apply_filters": True,
            "public_uuid": None,
            "made_public_by_id": None,
            "creator_id": 1,
            "cache_ttl": None,
            "enable_embedding": False,
            "can_write": True,
            "created_at": NOW,
            "updated_at": NOW,
            "tabs": [],
            "dashcards": [],
            **body,
        }
        return self.dashboard(number)

    def dashboard(self, number: int) -> Document:
        shown = copy.deepcopy(self.known(self.dashboards, number))
        for dashcard in shown["dashcards"]:
            card = copy.deepcopy(self.cards.get(dashcard["card_id"]))
            dashcard["card"] = card or {"query_average_duration": None}
        return shown

    def change_dashboard(self, number: int, body: Document) -> Document:
        known = self.known(self.dashboards, number)
        self._open_collection(body.get("collection_id"))
        check_parameters(body.get("parameters"), of_card=False)
        changed = dict(body)
        if "dashcards" in body or "tabs" in body:
            changed |= self._replaced(known, body)
        known.update(changed)
        return self.dashboard(number)

    def _replaced(self, known: Document, body: Document) -> Document:
        """Replace both arrays whole: what is not sent is gone, also tabs that are not sent with cards."""
        tabs, dashcards = body.get("tabs", []), body.get("dashcards", [])
        for tab in tabs:
            check_tab(tab)
        tab_ids = self._real_ids("tabs", tabs, known["tabs"])
        parameters = {each["id"] for each in body.get("parameters", known["parameters"])}
        for dashcard in dashcards:
            check_dashcard(dashcard, set(tab_ids), parameters)
            card = dashcard.get("card_id")
            if card is not None and self.known(self.cards, card)["archived"]:
                raise bad("dashcards.card_id", "the card is archived")
        ids = self._real_ids("dashcards", dashcards, known["dashcards"])
        return {
            "tabs": [
                {
                    "id": tab_ids[tab["id"]],
                    "name": tab["name"],
                    "position": place,
                    "dashboard_id": known["id"],
                }
                for place, tab in enumerate(tabs)
            ],
            "dashcards": [self._dashcard(known, each, ids, tab_ids) for each in dashcards],
        }

    def _dashcard(
        self, dashboard: Document, sent: Document, ids: Mapping[int, int], tab_ids: Mapping[int, int]
    ) -> Document:
        return {
            "card_id": None,
            "action_id": None,
            "visualization_settings": {},
            "inline_parameters": [],
            "series": [],
            "created_at": NOW,
            "updated_at": NOW,
            **sent,
            "id": ids[sent["id"]],
            "dashboard_id": dashboard["id"],
            "dashboard_tab_id": tab_ids.get(sent.get("dashboard_tab_id") or 0),
            "parameter_mappings": [queries.with_stage(each) for each in sent.get("parameter_mappings") or []],
            "entity_id": secrets.token_urlsafe(16)[:21],
        }

    def _real_ids(self, what: str, sent: list[Document], there: list[Document]) -> dict[int, int]:
        numbers = [each["id"] for each in sent]
        if len(numbers) != len(set(numbers)):
            raise bad(f"{what}.id", "ids must be unique")
        known = {each["id"] for each in there}
        for number in numbers:
            if number >= 0 and number not in known:
                raise bad(f"{what}.id", f"{number} is not on this dashboard")
        return {number: number if number > 0 else self.next_id() for number in numbers}

    # -- permissions and the rest

    def graph(self, which: str) -> Document:
        """Return a graph; "none" is left out, as since 0.56.13."""
        graph = self.graphs[which]
        groups = {
            group: {key: value for key, value in rights.items() if value != "none"}
            for group, rights in graph["groups"].items()
        }
        return {"revision": graph["revision"], "groups": groups}

    def change_graph(self, which: str, body: Document) -> Document:
        graph = self.graphs[which]
        if body["revision"] != graph["revision"]:
            raise Refused(409, "Looks like someone else edited the permissions and your data is out of date.")
        for group, rights in body["groups"].items():
            if int(group) not in self.groups:
                raise bad("groups", f"no group {group}")
            for key, right in rights.items():
                self._check_right(which, key, right)
            graph["groups"].setdefault(group, {}).update(rights)
        graph["revision"] += 1
        return self.graph(which)

    def _check_right(self, which: str, key: str, right: Any) -> None:
        if which == "collection":
            if key != "root":
                self.known(self.collections, int(key))
            if right not in ("read", "write", "none"):
                raise bad("groups", f"unknown right {right}")
            return
        self.known(self.databases, int(key))
        declared("groups", right, {"view-data", "create-queries"})
        if right.get("view-data", "unrestricted") != "unrestricted":
            raise Refused(402, "Sandboxes and blocking are Pro features")
        if right.get("create-queries") not in ("query-builder-and-native", "query-builder", "no"):
            raise bad("groups", f"unknown right {right}")

    def new_group(self, body: Document) -> Document:
        if body["name"] in self.groups.values():
            raise bad("name", "A group with that name already exists.")
        number = self.next_id()
        self.groups[number] = body["name"]
        return {"id": number, "name": body["name"]}

    def translate(self, body: Document) -> Document:
        wanted = body["entity_ids"].get("card", [])
        ids = {card["entity_id"]: card["id"] for card in self.cards.values()}
        return {
            "entity_ids": {
                each: {"id": ids[each], "type": "card", "status": "ok"}
                if each in ids
                else {"type": "card", "status": "not-found"}
                for each in wanted
            }
        }
