"""The databases of the fake, and what a sync of their schema finds, later."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.fake_metabase.bodies import DETAILS, Document, Refused, bad, declared

Columns = Mapping[tuple[str, str], list[str]]
HIDDEN = "**MetabasePass**"
SECRET_DETAILS = ("password", "private-key-value")
NOW = "2026-11-27T12:00:00Z"
NOT_FOUND = Refused(404, "Not found.")


@dataclass
class Databases:
    """Databases, tables, fields.

    Attributes:
        warehouse: columns of (schema, table), what a sync finds.
        upper: whether the warehouse names everything in upper case, as Snowflake does.
        late: how often metadata is read after a sync until it shows what the sync found.
    """

    warehouse: Columns
    upper: bool = False
    late: int = 0
    databases: dict[int, Document] = field(default_factory=dict)
    tables: dict[int, Document] = field(default_factory=dict)
    _pending: dict[int, int] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def next_id(self) -> int:
        return next(self._ids)

    @staticmethod
    def known(objects: dict[int, Document], number: int) -> Document:
        if number not in objects:
            raise NOT_FOUND
        return objects[number]

    def new_database(self, body: Document) -> Document:
        self._check_details(body["engine"], body["details"])
        number = self.next_id()
        self.databases[number] = {
            "id": number,
            "is_full_sync": True,
            "is_on_demand": False,
            "auto_run_queries": True,
            "initial_sync_status": "complete",
            "description": None,
            "features": [],
            "is_sample": False,
            "timezone": "UTC",
            "created_at": NOW,
            "updated_at": NOW,
            **body,
        }
        self.sync(number)
        return self.database(number)

    def change_database(self, number: int, body: Document) -> Document:
        known = self.known(self.databases, number)
        if "details" in body:
            self._check_details(body.get("engine", known["engine"]), body["details"])
            kept = {
                name: known["details"].get(name) for name, each in body["details"].items() if each == HIDDEN
            }
            body = {**body, "details": {**body["details"], **kept}}
        known.update(body)
        return self.database(number)

    def database(self, number: int) -> Document:
        known = self.known(self.databases, number)
        hidden = {
            name: HIDDEN if name in SECRET_DETAILS and found else found
            for name, found in known["details"].items()
        }
        return {**known, "details": hidden}

    def sync(self, number: int) -> Document:
        """Begin a sync; what it finds shows later, while the status says "complete" all the time."""
        self.known(self.databases, number)
        self._pending[number] = self.late
        return {"status": "ok"}

    def metadata(self, number: int) -> Document:
        self.known(self.databases, number)
        if number in self._pending:
            if self._pending[number] <= 0:
                del self._pending[number]
                self._find_tables(number)
            else:
                self._pending[number] -= 1
        return {**self.database(number), "tables": self.tables_of(number)}

    def tables_of(self, number: int) -> list[Document]:
        shown = copy.deepcopy([table for table in self.tables.values() if table["db_id"] == number])
        for table in shown:
            table["fields"] = [each for each in table["fields"] if each["active"]]
        return shown

    def field(self, number: int) -> Document:
        found = (each for table in self.tables.values() for each in table["fields"] if each["id"] == number)
        try:
            return next(found)
        except StopIteration:
            raise NOT_FOUND from None

    def _find_tables(self, number: int) -> None:
        known = {
            (table["schema"], table["name"]): table
            for table in self.tables.values()
            if table["db_id"] == number
        }
        for (schema, name), columns in self.warehouse.items():
            where = (self._spelt(schema), self._spelt(name))
            table = known.get(where) or self._new_table(number, *where)
            there = {each["name"]: each for each in table["fields"]}
            spelt = [self._spelt(column) for column in columns]
            for position, column in enumerate(spelt):
                if column not in there:
                    table["fields"].append(self._new_field(table, column, position))
            for column, each in there.items():
                each["active"] = column in spelt

    def _new_table(self, database: int, schema: str, name: str) -> Document:
        number = self.next_id()
        self.tables[number] = {
            "id": number,
            "db_id": database,
            "schema": schema,
            "name": name,
            "display_name": name.replace("_", " ").title(),
            "description": None,
            "active": True,
            "visibility_type": None,
            "entity_type": "entity/GenericTable",
            "fields": [],
        }
        return self.tables[number]

    def _new_field(self, table: Document, name: str, position: int) -> Document:
        return {
            "id": self.next_id(),
            "table_id": table["id"],
            "name": name,
            "display_name": name.replace("_", " ").title(),
            "description": None,
            "base_type": "type/Date" if "date" in name.lower() else "type/Text",
            "semantic_type": None,
            "fk_target_field_id": None,
            "active": True,
            "visibility_type": "normal",
            "has_field_values": "list",
            "position": position,
        }

    def _spelt(self, name: str) -> str:
        return name.upper() if self.upper else name

    def _check_details(self, engine: str, details: Document) -> None:
        if engine not in DETAILS:
            raise bad("engine", f"unknown engine {engine}")
        declared("details", details, DETAILS[engine])
        if not details.get("user"):
            raise Refused(400, {"message": f"cannot connect with {details}"})
