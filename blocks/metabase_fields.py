"""The marts as Metabase has read them: ids of columns, what is missing, and what dbt says of them.

A sync of the schema runs in the background, and the database's `initial_sync_status` stays "complete"
meanwhile; so the columns themselves are looked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from blocks.dashboard_queries import MARTS
from blocks.metabase_client import Document, MetabaseClient
from blocks.metabase_content import unknown_column
from blocks.metabase_errors import MetabaseSyncLate


@dataclass(frozen=True)
class Mart:
    """What dbt says of a mart: its own description, and that of each column (empty where there is none)."""

    name: str
    description: str
    columns: Mapping[str, str]


def marts_of_project(project: Path) -> list[Mart]:
    """Read the contracts of a dbt project's marts.

    The files rather than dbt's manifest: `publish` runs on a host where dbt does not, and a contract
    that is enforced names every column.
    """
    marts = []
    for file in sorted((project / "models" / MARTS).rglob("*.yml")):
        for model in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("models") or []:
            columns = {each["name"]: _plain(each.get("description")) for each in model.get("columns") or []}
            marts.append(Mart(model["name"], _plain(model.get("description")), columns))
    return marts


def _plain(text: str | None) -> str:
    """Return a description; one that dbt would first have to render is left out."""
    return "" if not text or "{{" in text else text.strip()


@dataclass(frozen=True)
class MartFields:
    """The marts' tables and columns on a server, by the names that dbt gives them.

    Attributes:
        tables: table document by model.
        fields: field document by `model.column`.
    """

    tables: Mapping[str, Document] = field(default_factory=dict)
    fields: Mapping[str, Document] = field(default_factory=dict)

    @classmethod
    def read(cls, client: MetabaseClient, database_id: int, schema: str) -> MartFields:
        """Read the tables of one schema; names are compared without regard to case."""
        answer = client.get(f"/database/{database_id}/metadata", include_hidden="true")
        tables = {
            str(table["name"]).lower(): table
            for table in answer["tables"]
            if str(table.get("schema") or "").lower() == schema.lower()
        }
        fields = {
            f"{model}.{str(each['name']).lower()}": each
            for model, table in tables.items()
            for each in table.get("fields") or []
        }
        return cls(tables, fields)

    def id_of(self, column: str) -> int:
        """Return the id of `model.column`.

        Raises:
            ConfigurationError: there is no such column.
        """
        if column not in self.fields:
            raise unknown_column(column)
        return int(self.fields[column]["id"])

    def name_of(self, number: int) -> str:
        """Return `model.column` of an id, or words for a field that is no mart's."""
        names = (name for name, each in self.fields.items() if each["id"] == number)
        return next(names, f"field {number}, which is no mart's")

    def missing(self, marts: Iterable[Mart]) -> list[str]:
        """Return the columns of the marts that are not there, as `model.column`."""
        return [
            name
            for mart in marts
            for column in mart.columns
            if (name := f"{mart.name}.{column}") not in self.fields
        ]


def sync_marts(
    client: MetabaseClient,
    database_id: int,
    schema: str,
    marts: Sequence[Mart],
    *,
    deadline_seconds: float = 600,
    poll_seconds: float = 2,
) -> MartFields:
    """Let Metabase read the schema anew and wait until it knows every column of the marts.

    Args:
        client: the server.
        database_id: of the marts.
        schema: of the marts.
        marts: what is expected.
        deadline_seconds: how long to wait.
        poll_seconds: between two looks.

    Raises:
        MetabaseSyncLate: columns are still missing; the message names some.
    """
    client.post(f"/database/{database_id}/sync_schema", {}, again=True)
    end = time.monotonic() + deadline_seconds
    while True:
        fields = MartFields.read(client, database_id, schema)
        missing = fields.missing(marts)
        if not missing:
            return fields
        if time.monotonic() >= end:
            some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
            raise MetabaseSyncLate(
                f"Metabase does not know {some} of {schema}, {deadline_seconds:g} s after a sync began",
                state="the dashboards are as they were",
                next_command="see whether the role of Metabase may read them, then the same again",
            )
        time.sleep(poll_seconds)


@dataclass(frozen=True)
class Description:
    """A text of dbt's that Metabase does not show yet.

    Attributes:
        name: `model` or `model.column`.
        path: of the API, where it is put.
        text: of dbt.
    """

    name: str
    path: str
    text: str


def descriptions_to_put(marts: Iterable[Mart], fields: MartFields) -> Iterator[Description]:
    """Yield the descriptions of marts and columns that Metabase has otherwise; dbt's word counts."""
    for mart in marts:
        table = fields.tables.get(mart.name)
        if table and mart.description and table.get("description") != mart.description:
            yield Description(mart.name, f"/table/{table['id']}", mart.description)
        for column, text in mart.columns.items():
            known = fields.fields.get(f"{mart.name}.{column}")
            if known and text and known.get("description") != text:
                yield Description(f"{mart.name}.{column}", f"/field/{known['id']}", text)
