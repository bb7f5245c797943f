"""The dashboards in Metabase's own open YAML representation, version 1.

Specification and validator: https://github.com/metabase/representations. The files are made of the very
objects that `floe dashboards apply` writes over the API, with names where a server has numbers: columns
by database, schema and table, users by their address. Ids are the same on every export. Metabase's paid
editions import such a folder; here it serves for review, and to be validated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import yaml

from blocks.dashboard_definitions import Dashboard
from blocks.dashboard_queries import MARTS
from blocks.errors import ConfigurationError
from blocks.metabase_marker import entity_id
from blocks.metabase_rendering import Managed, managed_objects
from blocks.metabase_settings import MartNames
from blocks.settings import Settings

MAIN = Path("collections") / "main"
_HEAD = "# Written by `floe dashboards export` from deployments/dashboards/: change those, not this.\n"
_MODELS = {"collection": "Collection", "card": "Card", "dashboard": "Dashboard"}
_PLACE = ("row", "col", "size_x", "size_y")


@dataclass(frozen=True)
class MartsDatabase:
    """The marts' database as Metabase knows it.

    Attributes:
        database: its name in Metabase.
        names: how it spells the marts.
    """

    database: str
    names: MartNames

    def column(self, model_column: str) -> list[str]:
        """Return the path of a mart's column: database, schema, table, column."""
        model, column = model_column.split(".")
        return [self.database, self.names.schema, self.names.column(model), self.names.column(column)]


def marts_database(settings: Settings) -> MartsDatabase:
    """Return how the Metabase of the settings reads the marts; without one, as this warehouse spells them."""
    if settings.dashboards.metabase is not None:
        known = settings.dashboards.metabase
        return MartsDatabase(known.database, known.marts.names)
    upper = settings.warehouse.type == "snowflake"
    return MartsDatabase("Marts", MartNames(MARTS.upper() if upper else MARTS, upper))


def representations(dashboards: Sequence[Dashboard], marts: MartsDatabase) -> dict[Path, dict[str, Any]]:
    """Return the documents by their paths in the folder: collections, their dashboards and cards."""
    found: dict[Path, dict[str, Any]] = {}
    for each in managed_objects(dashboards, marts.names):
        if each.kind == "collection":
            found[MAIN / f"{_slug(each)}.yaml"] = _collection(each)
            continue
        # A card stands in the folder of its dashboard: two dashboards may have cards of one name.
        place = MAIN / _name(each.content["collection"]) / f"{_name(each.key)}.yaml"
        found[place] = _card(each, marts) if each.kind == "card" else _dashboard(each)
    return found


def write_representations(
    dashboards: Sequence[Dashboard], marts: MartsDatabase, folder: Path
) -> dict[Path, dict[str, Any]]:
    """Write the documents; those of an earlier export that are no more are deleted.

    Args:
        dashboards: what to export.
        marts: the marts' database as Metabase knows it.
        folder: created when missing.

    Raises:
        ConfigurationError: the folder holds YAML in `collections/` that no export wrote.
    """
    earlier = list((folder / "collections").rglob("*.yaml"))
    foreign = [file for file in earlier if not file.read_text(encoding="utf-8").startswith(_HEAD)]
    if foreign:
        raise ConfigurationError(
            f"{foreign[0]} was not written by an export",
            state="nothing was written",
            next_command="floe dashboards export <another folder>",
        )
    documents = representations(dashboards, marts)
    for file in earlier:
        if file.relative_to(folder) not in documents:
            file.unlink()
    for path, document in documents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
        file.write_text(_HEAD + text, encoding="utf-8")
    return documents


def _collection(managed: Managed) -> dict[str, Any]:
    return {
        "name": managed.content["name"],
        "entity_id": entity_id(managed.key),
        "description": managed.content["description"],
        "parent_id": None,
        **_meta(managed),
    }


def _card(managed: Managed, marts: MartsDatabase) -> dict[str, Any]:
    content = managed.content
    tags = [_tag(tag, marts) for tag in content["template_tags"].values()]
    return {
        **_common(managed),
        "type": "question",
        "display": content["display"],
        "database_id": marts.database,
        "query_type": "native",
        "dataset_query": {
            "lib/type": "mbql/query",
            "database": marts.database,
            "stages": [
                {"lib/type": "mbql.stage/native", "native": content["query"], "template-tags": tags},
            ],
        },
        "parameters": content["parameters"],
        "visualization_settings": content["visualization_settings"],
        **_meta(managed),
    }


def _tag(tag: Mapping[str, Any], marts: MartsDatabase) -> dict[str, Any]:
    if "dimension" not in tag:
        return dict(tag)
    return {**tag, "dimension": ["field", {}, marts.column(tag["dimension"])]}


def _dashboard(managed: Managed) -> dict[str, Any]:
    content = managed.content
    tabs = [
        {"entity_id": entity_id(f"{managed.key}/tab/{number}"), "name": name, "position": number}
        for number, name in enumerate(content["tabs"])
    ]
    return {
        **_common(managed),
        "width": "full",
        "parameters": content["parameters"],
        "tabs": tabs,
        "dashcards": list(_dashcards(managed, [tab["entity_id"] for tab in tabs])),
        **_meta(managed),
    }


def _dashcards(managed: Managed, tabs: Sequence[str]) -> Iterator[dict[str, Any]]:
    own = entity_id(managed.key)
    for each in managed.content["dashcards"]:
        card = entity_id(each["card"]) if each["card"] else None
        # A question stands once on a dashboard, a text is known by its place.
        name = each["card"] or f"text/{each['tab']}/{each['row']}/{each['col']}"
        identity = entity_id(f"{managed.key}/{name}")
        yield {
            "entity_id": identity,
            "card_id": card,
            "dashboard_tab_id": [own, tabs[each["tab"]]],
            **{place: each[place] for place in _PLACE},
            "parameter_mappings": [{"card_id": card, **mapping} for mapping in each["parameter_mappings"]],
            "series": [],
            "visualization_settings": each["visualization_settings"],
            "serdes/meta": [{"id": own, "model": "Dashboard"}, {"id": identity, "model": "DashboardCard"}],
        }


def _common(managed: Managed) -> dict[str, Any]:
    return {
        "name": managed.content["name"],
        "entity_id": entity_id(managed.key),
        "description": managed.content["description"],
        "creator_id": parseaddr(managed.owner)[1],
        "collection_id": entity_id(managed.content["collection"]),
    }


def _meta(managed: Managed) -> dict[str, Any]:
    meta = {"id": entity_id(managed.key), "label": _slug(managed), "model": _MODELS[managed.kind]}
    return {"serdes/meta": [meta]}


def _name(key: str) -> str:
    """Return the key of an object without its kind."""
    return key.partition("/")[2]


def _slug(managed: Managed) -> str:
    """Return the last part of an object's key."""
    return managed.key.rpartition("/")[2]


class _Dumper(yaml.SafeDumper):
    """Writes SQL and other texts of several lines as they are, to be read and compared line by line."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
