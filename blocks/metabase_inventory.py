"""What of Floe's a server has, found by marks, and what people copied from it, which is theirs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from blocks.metabase_client import Document, MetabaseClient
from blocks.metabase_content import FieldIds, Translator
from blocks.metabase_errors import MetabaseBusy, MetabaseNotFound
from blocks.metabase_marker import LOST, Marker, digest, entity_id, unmarked
from blocks.metabase_rendering import Content, Kind

_KINDS: tuple[Kind, ...] = ("collection", "card", "dashboard")


@dataclass(frozen=True)
class Found:
    """One object of Floe's on the server.

    Attributes:
        kind: of object.
        number: its id.
        marker: what its mark says.
        archived: whether it is in the trash.
        document: as the server gives it.
        content: the same in the form of `blocks/metabase_rendering.py`.
    """

    kind: Kind
    number: int
    marker: Marker
    archived: bool
    document: Document
    content: Content

    @property
    def digest(self) -> str:
        """The digest of its content as it is now."""
        return digest(self.content)

    @property
    def unfinished(self) -> bool:
        """Whether Floe was interrupted after it made this, so that no digest is known."""
        return self.marker.digest is None

    @property
    def changed_by_hand(self) -> bool:
        """Whether it is not as Floe left it."""
        return not self.unfinished and self.digest != self.marker.digest


@dataclass
class Inventory:
    """Floe's objects on one server.

    Attributes:
        client: the server.
        database_id: of the marts.
        fields: ids of the marts' columns.
        found: Floe's objects by key.
        abandoned: made twice, by an apply that was killed or was slower than another one.
        copies: names of what people copied from Floe's objects.
    """

    client: MetabaseClient
    database_id: int
    fields: FieldIds
    found: dict[str, Found] = field(default_factory=dict)
    abandoned: list[Found] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _card_keys: dict[str, str] = field(default_factory=dict)

    @property
    def translator(self) -> Translator:
        """Translates with the numbers known so far."""
        return Translator(self.database_id, self.fields, self)

    def read(self, card_keys: Iterable[str]) -> None:
        """Look through the server.

        Args:
            card_keys: of the cards that are wanted; they are found wherever somebody moved them.
        """
        self._card_keys = {entity_id(key): key for key in card_keys}
        listed: dict[Kind, list[Document]] = {kind: [] for kind in _KINDS}
        for row in _everything(self.client):
            if row["model"] in listed and unmarked(row.get("description"))[1]:
                listed[row["model"]].append(row)
        numbers: dict[Kind, list[int]] = {"collection": [], "card": [], "dashboard": []}
        for kind, rows in listed.items():
            numbers[kind] = self._sorted_out(kind, rows)
        listed_cards = {row["entity_id"] for row in listed["card"]}
        moved = self.card_numbers(key for name, key in self._card_keys.items() if name not in listed_cards)
        numbers["card"] += moved.values()
        # Cards name collections, dashboards name cards.
        for kind in _KINDS:
            for number in numbers[kind]:
                self._add(self.read_one(kind, number))

    def read_one(self, kind: Kind, number: int) -> Found:
        """Read one object as it is now.

        Raises:
            MetabaseBusy: its mark is gone since it was listed.
        """
        document = self.client.get(f"/{kind}/{number}")
        marker = unmarked(document.get("description"))[1] or self._lost_mark(kind, document)
        if marker is None:
            raise MetabaseBusy(
                f"Somebody took the mark off {kind} {number} just now", next_command="run it again"
            )
        content = {
            "collection": self.translator.collection_content,
            "card": self.translator.card_content,
            "dashboard": self.translator.dashboard_content,
        }[kind](document)
        return Found(kind, number, marker, bool(document.get("archived")), document, content)

    def _lost_mark(self, kind: Kind, document: Document) -> Marker | None:
        """Return the mark of a card that somebody took it off; its entity id still tells whose it is."""
        key = self._card_keys.get(str(document.get("entity_id")))
        return Marker(key, digest=LOST) if kind == "card" and key else None

    def all_found(self) -> list[Found]:
        """Return every object of Floe's, those made twice included."""
        return [*self.found.values(), *self.abandoned]

    def card_numbers(self, keys: Iterable[str]) -> dict[str, int]:
        """Return the number of each card of some keys that there is, wherever it is."""
        by_id = {entity_id(key): key for key in keys}
        if not by_id:
            return {}
        body = {"entity_ids": {"card": sorted(by_id)}}
        known = self.client.post("/eid-translation/translate", body, again=True)["entity_ids"]
        return {by_id[name]: int(each["id"]) for name, each in known.items() if each.get("status") == "ok"}

    def count_in(self, collection: int) -> int:
        """Return how many things a collection holds that are not in the trash."""
        everything = ["card", "dashboard", "collection"]
        return len(list(self.client.items(f"/collection/{collection}/items", models=everything)))

    def remember(self, key: str, number: int) -> None:
        """Take note of what was just made."""
        self._numbers[key] = number

    def number_of(self, key: str) -> int:
        """Return the number of a key on the server."""
        return self._numbers[key]

    def key_of_card(self, number: int) -> str:
        """Return the key of a card, or words for one that is not Floe's."""
        return self._key("card", number)

    def key_of_collection(self, number: int | None) -> str:
        """Return the key of a collection, or words for one that is not Floe's."""
        return "no collection" if number is None else self._key("collection", number)

    def candidates(self, kind: Kind, key: str, rows: Sequence[Document]) -> list[int]:
        """Return the numbers of the objects of a key among listed rows, the one that counts first.

        A mark with the object's own number counts before one without, then the lower number: every
        apply that runs at once comes to the same choice.
        """
        numbers = []
        for row in rows:
            marker = unmarked(row.get("description"))[1]
            if marker and marker.key == key and _is_ours(kind, row, marker):
                numbers.append((bool(row.get("archived")), marker.number is None, int(row["id"])))
        return [number for _, _, number in sorted(numbers)]

    def rows_in(self, kind: Kind, collection: int | None) -> list[Document]:
        """List one kind of object: in a collection, or all collections."""
        if kind == "collection":
            return [row for row in self.client.get("/collection") if isinstance(row["id"], int)]
        return list(_items(self.client, str(collection), archived=False))

    def _key(self, kind: Kind, number: int) -> str:
        keys = (key for key, known in self._numbers.items() if known == number and key.startswith(kind))
        return next(keys, f"{kind} {number}, which is not Floe's")

    def _sorted_out(self, kind: Kind, rows: list[Document]) -> list[int]:
        """Return the numbers of Floe's objects of a kind; note copies."""
        keys: dict[str, None] = {}
        for row in rows:
            marker = unmarked(row.get("description"))[1]
            if marker is None or not marker.key.startswith(f"{kind}/"):
                continue
            if _is_ours(kind, row, marker):
                keys[marker.key] = None
            elif not row.get("archived"):
                self.copies.append(f"{kind} {row['id']} {row['name']!r}, copied from {marker.key}")
        return [number for key in keys for number in self.candidates(kind, key, rows)]

    def _add(self, each: Found) -> None:
        first = self.found.setdefault(each.marker.key, each)
        self._numbers.setdefault(each.marker.key, each.number)
        if first.number != each.number and not each.archived:
            self.abandoned.append(each)


def _is_ours(kind: Kind, row: Document, marker: Marker) -> bool:
    if kind == "card":
        return bool(row.get("entity_id") == entity_id(marker.key))
    return marker.number in (None, int(row["id"]))


def _everything(client: MetabaseClient) -> Iterator[Document]:
    """Yield every collection, card and dashboard that is not in somebody's personal collection."""
    for archived in (False, True):
        for row in client.get("/collection", archived=str(archived).lower()):
            mine = row.get("personal_owner_id") is None and not row.get("namespace")
            if not mine or row.get("type") == "trash":
                continue
            if row["id"] != "root":
                yield {**row, "model": "collection"}
            if not archived:
                yield from _items(client, str(row["id"]), archived=False)
    try:
        trash = client.get("/collection/trash")
    except MetabaseNotFound:  # before v50 there was none
        return
    yield from _items(client, str(trash["id"]), archived=True)


def _items(client: MetabaseClient, collection: str, *, archived: bool) -> Iterator[Document]:
    query: dict[str, Any] = {"models": ["card", "dashboard"], "archived": str(archived).lower()}
    yield from client.items(f"/collection/{collection}/items", **query)
