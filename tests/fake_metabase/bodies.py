"""What bodies may say: the keys of each call, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Document = dict[str, Any]

DISPLAYS = {
    *("table", "bar", "line", "area", "row", "pie", "scalar", "smartscalar", "combo", "pivot", "funnel"),
    *("map", "scatter", "waterfall", "progress", "gauge", "object", "sankey", "boxplot"),
}
PARAMETER_TYPES = {
    *("id", "category", "temporal-unit", "boolean/=", "number/=", "number/!=", "number/between", "number/>="),
    *("number/<=", "string/=", "string/!=", "string/contains", "string/does-not-contain"),
    *("string/starts-with", "string/ends-with", "date/single", "date/range", "date/relative"),
    *("date/month-year", "date/quarter-year", "date/all-options"),
}
_DATABASE = {"name", "engine", "details", "is_full_sync", "is_on_demand", "auto_run_queries", "schedules"}
_CARD = {
    *("name", "display", "visualization_settings", "dataset_query", "collection_id", "type", "description"),
    *("parameters", "entity_id"),
}
_DASHBOARD = {"name", "description", "collection_id", "collection_position", "parameters", "cache_ttl"}
_COLLECTION = {"name", "description", "parent_id", "authority_level"}
_PRESENTATION = {"description", "display_name", "visibility_type"}

# By call: the keys that are declared, and those of them that must be there.
BODIES: dict[str, tuple[set[str], set[str]]] = {
    "POST /setup": ({"token", "user", "prefs"}, {"token", "user", "prefs"}),
    "POST /session": ({"username", "password"}, {"username", "password"}),
    "POST /api-key": ({"name", "group_id"}, {"name", "group_id"}),
    "POST /database": (_DATABASE, {"name", "engine", "details"}),
    "PUT /database/:id": (_DATABASE, set()),
    "POST /database/:id/sync_schema": (set(), set()),
    "POST /database/:id/rescan_values": (set(), set()),
    "PUT /table/:id": (_PRESENTATION, set()),
    "PUT /field/:id": (
        _PRESENTATION | {"semantic_type", "fk_target_field_id", "has_field_values"},
        set(),
    ),
    "POST /collection": (_COLLECTION | {"namespace"}, {"name"}),
    "PUT /collection/:id": (_COLLECTION | {"archived"}, set()),
    "POST /card": (_CARD, {"name", "display", "visualization_settings", "dataset_query"}),
    "PUT /card/:id": (_CARD - {"entity_id"} | {"archived"}, set()),
    "POST /card/:id/query": ({"parameters", "ignore_cache"}, set()),
    "POST /dashboard": (_DASHBOARD, {"name"}),
    "PUT /dashboard/:id": (_DASHBOARD | {"dashcards", "tabs", "width", "archived"}, set()),
    "PUT /permissions/graph": ({"revision", "groups"}, {"revision", "groups"}),
    "PUT /collection/graph": ({"revision", "groups"}, {"revision", "groups"}),
    "POST /permissions/group": ({"name"}, {"name"}),
    "POST /permissions/membership": ({"group_id", "user_id", "is_group_manager"}, {"group_id", "user_id"}),
    "PUT /setting/:id": ({"value"}, {"value"}),
    "POST /eid-translation/translate": ({"entity_ids"}, {"entity_ids"}),
}
DETAILS = {
    "snowflake": {
        *("account", "user", "password", "private-key-value", "private-key-options", "warehouse", "db"),
        *("role", "schema-filters-type", "schema-filters-patterns", "additional-options"),
    },
    "postgres": {
        *("host", "port", "dbname", "user", "password", "ssl", "ssl-mode"),
        *("schema-filters-type", "schema-filters-patterns", "additional-options"),
    },
}
_DASHCARD = {
    *("id", "size_x", "size_y", "row", "col", "card_id", "action_id", "dashboard_tab_id"),
    *("parameter_mappings", "visualization_settings", "inline_parameters", "series"),
}
_TAG = {
    *("id", "name", "display-name", "type", "dimension", "widget-type", "default", "required", "alias"),
}
_PARAMETER = {"id", "name", "slug", "type", "default", "required", "sectionId", "filteringParameters"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Refused(Exception):
    """The server says no."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def bad(field: str, why: str) -> Refused:
    return Refused(400, {"errors": {field: why}, "specific-errors": {field: [why]}})


def declared(where: str, body: Mapping[str, Any], known: set[str], needed: Iterable[str] = ()) -> None:
    """Refuse keys that nobody declared, which the real server would drop."""
    for key in body:
        if key not in known:
            raise bad(f"{where}.{key}", "the fake refuses undeclared keys")
    for key in needed:
        if key not in body:
            raise bad(f"{where}.{key}", "missing required key")


def check_body(call: str, body: Any) -> None:
    if not isinstance(body, dict):
        raise bad("body", "should be a map")
    known, needed = BODIES.get(call, (set(), set()))
    declared(call, body, known, needed)
    for key in ("name", "description"):
        if isinstance(body.get(key), str) and not body[key].strip():
            raise bad(key, "value must be a non-blank string")
    if "display" in body and body["display"] not in DISPLAYS:
        raise bad("display", f"unknown display {body['display']}")
    if "visualization_settings" in body and not isinstance(body["visualization_settings"], dict):
        raise bad("visualization_settings", "should be a map")


def check_parameters(parameters: Any, *, of_card: bool) -> None:
    known = _PARAMETER | ({"target"} if of_card else set())
    for each in parameters or []:
        declared("parameters", each, known, ("id", "name", "slug", "type"))
        if each["type"] not in PARAMETER_TYPES:
            raise bad("parameters.type", f"unknown type {each['type']}")
    ids = [each["id"] for each in parameters or []]
    if len(ids) != len(set(ids)):
        raise bad("parameters.id", "ids must be unique")


def check_tags(sql: str, tags: Mapping[str, Any]) -> None:
    for name, tag in tags.items():
        declared(f"template-tags.{name}", tag, _TAG, ("id", "name", "display-name", "type"))
        if tag["name"] != name or f"{{{{{name}}}}}" not in sql:
            raise bad("template-tags", f"{name} is not the tag's name, or not in the query")
        if not _UUID.fullmatch(str(tag["id"])):
            raise bad("template-tags.id", "should be a uuid")
        if (tag["type"] == "dimension") != ("dimension" in tag and "widget-type" in tag):
            raise bad("template-tags", f"{name}: a dimension has a field and a widget-type, nothing else has")
        if tag.get("widget-type", "category") not in PARAMETER_TYPES:
            raise bad("widget-type", f"unknown type {tag['widget-type']}")
    for name in re.findall(r"\{\{\s*(\w+)\s*\}\}", sql):
        if name not in tags:
            raise bad("template-tags", f"{name} is in the query and not declared")


def check_dashcard(card: Any, tabs: set[int], parameters: set[str]) -> None:
    declared("dashcards", card, _DASHCARD, ("id", "size_x", "size_y", "row", "col"))
    if not all(isinstance(card[name], int) for name in ("id", "size_x", "size_y", "row", "col")):
        raise bad("dashcards", "positions are whole numbers")
    if not (1 <= card["size_x"] <= 24 and card["size_y"] >= 1 and 0 <= card["col"] < 24 and card["row"] >= 0):
        raise bad("dashcards.size_x", "outside the grid")
    if tabs and card.get("dashboard_tab_id") not in tabs:
        raise bad("dashcards.dashboard_tab_id", "no such tab among those that were sent")
    for mapping in card.get("parameter_mappings") or []:
        declared(
            "parameter_mappings", mapping, {"parameter_id", "card_id", "target"}, ("parameter_id", "target")
        )
        if mapping["parameter_id"] not in parameters:
            raise bad("parameter_mappings.parameter_id", "no such parameter")
        if mapping.get("card_id") != card.get("card_id"):
            raise bad("parameter_mappings.card_id", "is another card")
    for each in card.get("series") or []:
        declared("series", each, {"id"}, ("id",))


def check_tab(tab: Any) -> None:
    declared("tabs", tab, {"id", "name", "position"}, ("id", "name"))
