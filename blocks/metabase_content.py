"""A server's documents as contents, and contents as bodies for a server: the only place that knows both.

Reading takes out what Metabase adds of its own accord: since v57 it answers native queries as MBQL 5
whatever it was sent, with `lib/uuid`s and options in every clause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from blocks.dashboard_queries import MARTS
from blocks.errors import ConfigurationError
from blocks.metabase_client import Document
from blocks.metabase_marker import unmarked
from blocks.metabase_rendering import Content

_PLACE = ("row", "col", "size_x", "size_y")
_NOT_OURS = ("series", "inline_parameters", "action_id")


class FieldIds(Protocol):
    """What is known of the ids of the marts' columns on a server."""

    def id_of(self, column: str) -> int:
        """Return the id of `model.column`."""

    def name_of(self, number: int) -> str:
        """Return `model.column` of an id, or words for a field that is no mart's."""


class CardKeys(Protocol):
    """What is known of the numbers of objects on a server."""

    def key_of_card(self, number: int) -> str:
        """Return the key of a card, or words for a card that is not Floe's."""

    def key_of_collection(self, number: int | None) -> str:
        """Return the key of a collection, or words for one that is not Floe's."""

    def number_of(self, key: str) -> int:
        """Return the number that a key has on the server."""


@dataclass(frozen=True)
class Translator:
    """Translates between contents and one server's documents.

    Attributes:
        database_id: of the marts.
        fields: ids of columns.
        keys: numbers of objects.
    """

    database_id: int
    fields: FieldIds
    keys: CardKeys

    def collection_content(self, document: Document) -> Content:
        """Return what a collection says."""
        return {"name": document["name"], "description": unmarked(document.get("description"))[0]}

    def card_content(self, document: Document) -> Content:
        """Return what a card says, in the form of `blocks/metabase_rendering.py`."""
        asked = document["dataset_query"]
        query, tags = _native(asked)
        return {
            "database": MARTS
            if asked.get("database") == self.database_id
            else f"database {asked.get('database')}",
            "name": document["name"],
            "description": unmarked(document.get("description"))[0],
            "display": document["display"],
            "collection": self.keys.key_of_collection(document.get("collection_id")),
            "query": query,
            "template_tags": {name: self._tag(tag) for name, tag in sorted(tags.items())},
            "parameters": [_parameter(each) for each in document.get("parameters") or []],
            "visualization_settings": document.get("visualization_settings") or {},
        }

    def card_body(self, content: Content) -> Document:
        """Return the keys of `POST /api/card` for a content, without description and entity id.

        Raises:
            ConfigurationError: Metabase does not know a mart column (yet).
        """
        tags = {name: self._tag_body(tag) for name, tag in content["template_tags"].items()}
        return {
            "name": content["name"],
            "display": content["display"],
            "type": "question",
            "collection_id": self.keys.number_of(content["collection"]),
            "dataset_query": {
                "lib/type": "mbql/query",
                "database": self.database_id,
                "stages": [
                    {
                        "lib/type": "mbql.stage/native",
                        "native": content["query"],
                        "template-tags": tags,
                    }
                ],
            },
            "parameters": content["parameters"],
            "visualization_settings": content["visualization_settings"],
        }

    def dashboard_content(self, document: Document) -> Content:
        """Return what a dashboard says, in the form of `blocks/metabase_rendering.py`."""
        tabs = sorted(document.get("tabs") or [], key=lambda tab: int(tab.get("position") or 0))
        order = {tab["id"]: number for number, tab in enumerate(tabs)}
        dashcards = [self._dashcard(each, order) for each in document.get("dashcards") or []]
        return {
            "name": document["name"],
            "description": unmarked(document.get("description"))[0],
            "collection": self.keys.key_of_collection(document.get("collection_id")),
            "collection_position": document.get("collection_position"),
            "parameters": [_said(each) for each in document.get("parameters") or []],
            "tabs": [tab["name"] for tab in tabs],
            "dashcards": sorted(dashcards, key=lambda card: (card["tab"], card["row"], card["col"])),
        }

    def dashboard_body(self, content: Content, current: Document) -> Document:
        """Return the keys of `PUT /api/dashboard/:id` for a content, without its description.

        Tabs and cards that are on the dashboard already keep their ids, since subscriptions and links
        refer to them: a tab by its name, else by its place; a question by its card; a text by its words,
        else by its place. What is new gets a negative id.

        Args:
            content: what the dashboard is to be.
            current: the dashboard as it is on the server.
        """
        there = sorted(current.get("tabs") or [], key=lambda tab: int(tab.get("position") or 0))
        tab_ids = _matched_tabs(content["tabs"], there)
        dashcards = self._dashcard_bodies(content["dashcards"], tab_ids, current)
        return {
            "name": content["name"],
            "collection_id": self.keys.number_of(content["collection"]),
            "collection_position": content["collection_position"],
            "parameters": content["parameters"],
            "tabs": [
                {"id": tab_ids[number], "name": name, "position": number}
                for number, name in enumerate(content["tabs"])
            ],
            "dashcards": dashcards,
        }

    def _tag(self, tag: Mapping[str, Any]) -> Content:
        kept = _said(tag)
        if dimension := kept.get("dimension"):
            kept["dimension"] = self.fields.name_of(_field_id(dimension))
        return kept

    def _tag_body(self, tag: Mapping[str, Any]) -> Document:
        if "dimension" not in tag:
            return dict(tag)
        return {**tag, "dimension": ["field", {}, self.fields.id_of(tag["dimension"])]}

    def _dashcard(self, document: Document, order: Mapping[int, int]) -> Content:
        card = document.get("card_id")
        mappings = [
            {"parameter_id": each["parameter_id"], "target": _target(each["target"])}
            for each in document.get("parameter_mappings") or []
        ]
        content = {
            "tab": order.get(document.get("dashboard_tab_id") or 0, 0),
            **{name: document[name] for name in _PLACE},
            "card": None if card is None else self.keys.key_of_card(card),
            "visualization_settings": document.get("visualization_settings") or {},
            "parameter_mappings": sorted(mappings, key=lambda each: str(each["parameter_id"])),
        }
        # Not ours to set, so anything here was put there by hand.
        extra = {
            name: found
            for name in ("series", "inline_parameters", "action_id")
            if (found := document.get(name))
        }
        return content | extra

    def _dashcard_bodies(
        self, wanted: list[Content], tab_ids: list[int], current: Document
    ) -> list[Document]:
        free = list(current.get("dashcards") or [])
        bodies = []
        for number, content in enumerate(wanted, start=1):
            card = None if content["card"] is None else self.keys.number_of(content["card"])
            place = {"dashboard_tab_id": tab_ids[content["tab"]]}
            place |= {name: content[name] for name in _PLACE}
            known = _take(free, content, card, place)
            bodies.append(
                {
                    "id": known["id"] if known else -number,
                    "card_id": card,
                    **place,
                    "visualization_settings": content["visualization_settings"],
                    "parameter_mappings": [
                        {"parameter_id": each["parameter_id"], "card_id": card, "target": each["target"]}
                        for each in content["parameter_mappings"]
                    ],
                    "series": [],
                }
            )
        return bodies


def _take(free: list[Document], content: Content, card: int | None, place: Document) -> Document | None:
    """Take the dashcard that a content stands for out of those that are there."""
    same_card = [each for each in free if each.get("card_id") == card]
    if card is None:
        text = content["visualization_settings"].get("text")
        same_card = [
            *(each for each in same_card if (each.get("visualization_settings") or {}).get("text") == text),
            *(each for each in same_card if all(each.get(name) == place[name] for name in place)),
        ]
    if not same_card:
        return None
    free.remove(same_card[0])
    return same_card[0]


def _matched_tabs(names: list[str], there: list[Document]) -> list[int]:
    free = {int(tab["id"]): str(tab["name"]) for tab in there}
    found: list[int | None] = []
    for name in names:
        same = next((number for number, known in free.items() if known == name), None)
        if same is not None:
            del free[same]
        found.append(same)
    for position, known in enumerate(found):
        if known is None and position < len(there) and int(there[position]["id"]) in free:
            found[position] = int(there[position]["id"])
            del free[int(there[position]["id"])]
    return [-(position + 1) if known is None else known for position, known in enumerate(found)]


def _native(query: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return SQL and template tags of a query, whichever MBQL it is in."""
    stages = query.get("stages") or []
    if stages:
        stage = stages[0]
        if len(stages) == 1 and "native" in stage:
            return str(stage["native"]), stage.get("template-tags") or {}
    elif "native" in query:
        return str(query["native"].get("query", "")), query["native"].get("template-tags") or {}
    return "(a query of Metabase's own editor)", {}


def _field_id(dimension: list[Any]) -> int:
    """Return the id in `["field", {...}, 7]` (MBQL 5) or `["field", 7, null]`."""
    return next((int(part) for part in dimension[1:] if isinstance(part, int)), 0)


def _target(target: list[Any]) -> list[Any]:
    """Return a target without the options that Metabase adds: kind, and the template tag."""
    return [target[0], list(target[1][:2])] if len(target) > 1 and isinstance(target[1], list) else target


def _parameter(parameter: Mapping[str, Any]) -> Content:
    kept = _said(parameter)
    return kept | {"target": _target(kept["target"])} if "target" in kept else kept


def _said(document: Mapping[str, Any]) -> Content:
    """Return a tag or parameter without what Metabase fills in: null, false, nothing, its own uuids."""
    return {name: value for name, value in document.items() if value and name != "lib/uuid"}


def unknown_column(column: str) -> ConfigurationError:
    """Return the error for a column that Metabase does not have."""
    return ConfigurationError(
        f"Metabase does not know the column {column}",
        state="nothing was written that needs it",
        next_command="publish the marts, then `floe dashboards apply`, which syncs Metabase's schema first",
    )
