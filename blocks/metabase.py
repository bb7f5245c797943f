"""Dashboards in a Metabase: planned, applied, and each card run once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from blocks.dashboard_definitions import Dashboard
from blocks.errors import ConfigurationError
from blocks.metabase_apply import ObjectWriter, refuse_changes_by_hand
from blocks.metabase_client import MetabaseClient
from blocks.metabase_errors import MetabaseIncompatible
from blocks.metabase_fields import Mart, MartFields, descriptions_to_put, sync_marts
from blocks.metabase_inventory import Inventory
from blocks.metabase_permissions import Permissions
from blocks.metabase_plan import Change, plan_objects
from blocks.metabase_rendering import Managed, managed_objects
from blocks.metabase_settings import Drift, MartNames
from blocks.metabase_setup import find_database


@dataclass(frozen=True)
class RanCard:
    """What one card cost when it was run.

    Attributes:
        key: of the card.
        owner: who answers for it.
        rows: of its answer, with no filter set.
        seconds: as Metabase measured them.
        error: of the warehouse, if it failed.
    """

    key: str
    owner: str
    rows: int
    seconds: float
    error: str | None


@dataclass
class Provisioner:
    """Brings dashboards into one Metabase.

    Attributes:
        client: of an administrator.
        database: name of the marts' database in Metabase.
        names: how the warehouse spells the marts.
        dashboards: what is wanted.
        marts: what dbt says of the marts.
        analysts: group that may read; None leaves permissions alone.
        drift: what becomes of objects that were changed by hand.
        sync_seconds: how long the marts' columns may take to appear.
        poll_seconds: between two looks for them.
    """

    client: MetabaseClient
    database: str
    names: MartNames
    dashboards: Sequence[Dashboard]
    marts: Sequence[Mart]
    analysts: str | None = None
    drift: Drift = "refuse"
    sync_seconds: float = 600
    poll_seconds: float = 2
    managed: list[Managed] = field(init=False)

    def __post_init__(self) -> None:
        self.managed = managed_objects(self.dashboards, self.names)

    def plan(self) -> list[Change]:
        """Compare with what the server has; nothing is changed.

        Before the database is there nothing can be compared with it, so everything is said to be new.
        """
        found = find_database(self.client, self.database)
        number = int(found["id"]) if found else None
        fields = MartFields() if number is None else MartFields.read(self.client, number, self.names.schema)
        inventory = self._inventory(number or 0, fields)
        objects = plan_objects(self.managed, inventory, self.drift)
        return objects + self._around(objects, inventory, fields, number)

    def apply(self, before_writing: Callable[[list[Change]], None] = lambda _: None) -> list[Change]:
        """Sync the schema, wait for the marts' columns, then make everything as declared.

        Args:
            before_writing: is shown the plan, as it is once the schema is known.

        Returns:
            What was done.

        Raises:
            ConfigurationError: the database is not there.
            MetabaseSyncLate: columns do not appear; nothing was written.
            MetabaseChangedByHand: something was changed by hand and `drift` is "refuse"; nothing was written.
        """
        number = self._database_id()
        fields = sync_marts(
            self.client,
            number,
            self.names.schema,
            self.marts,
            deadline_seconds=self.sync_seconds,
            poll_seconds=self.poll_seconds,
        )
        inventory = self._inventory(number, fields)
        objects = plan_objects(self.managed, inventory, self.drift)
        around = self._around(objects, inventory, fields, number)
        before_writing(objects + around)
        refuse_changes_by_hand(objects, self.drift)
        done = ObjectWriter(self.client, inventory).carry_out(self.managed, objects)
        self._put_descriptions(number, fields)
        if self.analysts is not None:
            collections = [
                inventory.number_of(each.key) for each in self.managed if each.kind == "collection"
            ]
            Permissions(self.client, self.analysts).apply(collections, number)
        return done + around

    def run_cards(self) -> list[RanCard]:
        """Run each card once, as a person who opens it does."""
        cards = {each.key: each for each in self.managed if each.kind == "card"}
        numbers = Inventory(self.client, self._database_id(), MartFields()).card_numbers(cards)
        return [self._run(cards[key], number) for key, number in numbers.items()]

    def _run(self, card: Managed, number: int) -> RanCard:
        # Once: a query that takes too long would only be started again beside itself.
        answer = self.client.post(f"/card/{number}/query", {})
        status = answer.get("status")
        error = None if status == "completed" else str(answer.get("error") or f"status {status}")
        rows, milliseconds = answer.get("row_count") or 0, answer.get("running_time") or 0
        return RanCard(card.key, card.owner, int(rows), int(milliseconds) / 1000, error)

    def _database_id(self) -> int:
        found = find_database(self.client, self.database)
        if found is None:
            raise ConfigurationError(
                f"Metabase at {self.client.url} has no database {self.database!r}",
                next_command="floe dashboards apply",
            )
        return int(found["id"])

    def _inventory(self, database_id: int, fields: MartFields) -> Inventory:
        inventory = Inventory(self.client, database_id, fields)
        inventory.read([each.key for each in self.managed if each.kind == "card"])
        return inventory

    def _around(
        self, objects: Sequence[Change], inventory: Inventory, fields: MartFields, database_id: int | None
    ) -> list[Change]:
        """Return what is planned beside the objects: descriptions, copies that are left alone, rights."""
        changes = [Change("copy", "", name, "none", note="left alone") for name in inventory.copies]
        if waiting := len([*descriptions_to_put(self.marts, fields)]):
            changes.append(
                Change("descriptions", "descriptions", f"{waiting} of marts and columns", "update")
            )
        if self.analysts is not None:
            wanted = [each.key for each in self.managed if each.kind == "collection"]
            there = [found.number for key in wanted if (found := inventory.found.get(key))]
            new = [each.name for each in objects if each.kind == "collection" and each.action == "create"]
            changes += Permissions(self.client, self.analysts).plan(there, database_id, new)
        return changes

    def _put_descriptions(self, database_id: int, fields: MartFields) -> None:
        waiting = [*descriptions_to_put(self.marts, fields)]
        for each in waiting:
            self.client.put(each.path, {"description": each.text})
        if waiting:
            after = MartFields.read(self.client, database_id, self.names.schema)
            if left := [each.name for each in descriptions_to_put(self.marts, after)]:
                raise MetabaseIncompatible(f"Metabase did not keep the descriptions of {', '.join(left[:5])}")
