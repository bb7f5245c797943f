"""The dashboards as Metabase is to have them, without the numbers that a server gives: pure.

Contents name each other by keys and mart columns by `model.column`; `blocks/metabase_content.py` turns
those into a server's ids and back. So a definition, its digest and a diff are the same for every server.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blocks.dashboard_definitions import Card, ColumnSettings, Dashboard, Filter, QuestionCard, TextCard
from blocks.dashboard_queries import MARTS, with_marts_in
from blocks.errors import ConfigurationError
from blocks.metabase_marker import stable_uuid
from blocks.metabase_settings import MartNames

Kind = Literal["collection", "card", "dashboard"]
Content = dict[str, Any]

# Day.js formats of Metabase's own date styles; a native query's column has no unit to take one from.
_DATE_STYLES = {"month": "MMMM, YYYY", "quarter": "[Q]Q - YYYY", "year": "YYYY"}


@dataclass(frozen=True)
class Managed:
    """One object that Metabase is to have.

    Attributes:
        kind: of object.
        key: of its definition, unique over all kinds.
        owner: who answers for it.
        content: what it is to be.
    """

    kind: Kind
    key: str
    owner: str
    content: Content


def managed_objects(dashboards: Sequence[Dashboard], names: MartNames) -> list[Managed]:
    """Return everything that Metabase is to have: collections, then cards, then dashboards.

    Raises:
        ConfigurationError: the names of two collections differ in nothing that a key keeps.
    """
    collections: dict[str, Managed] = {}
    cards: list[Managed] = []
    shown: list[Managed] = []
    for dashboard in dashboards:
        collection = _collection(dashboard)
        known = collections.setdefault(collection.key, collection)
        if known.content != collection.content:
            one, other = known.content["name"], collection.content["name"]
            raise ConfigurationError(f"The collections {one!r} and {other!r} are too alike: rename one")
        cards += [_card(dashboard, card, collection.key, names) for card in dashboard.questions]
        shown.append(_dashboard(dashboard, collection.key))
    return [*collections.values(), *cards, *shown]


def card_key(dashboard: str, card: str) -> str:
    """Return the key of a card on a server."""
    return f"card/{dashboard}/{card}"


def _collection(dashboard: Dashboard) -> Managed:
    name = dashboard.collection
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    key = slug or hashlib.sha256(name.encode()).hexdigest()[:8]
    content = {"name": name, "description": "Dashboards that Floe provisions from files."}
    return Managed("collection", f"collection/{key}", str(dashboard.owner), content)


def _card(dashboard: Dashboard, card: QuestionCard, collection: str, names: MartNames) -> Managed:
    key = card_key(dashboard.key, card.key)
    filters = {each.key: each for each in dashboard.filters}
    content = {
        "database": MARTS,
        "name": card.title,
        "description": card.description,
        "display": card.display,
        "collection": collection,
        "query": with_marts_in(card.query, names.schema),
        "template_tags": {tag: _tag(key, card, filters[tag]) for tag in sorted(card.template_tags)},
        "parameters": [_card_parameter(key, card, filters[tag]) for tag in sorted(card.template_tags)],
        "visualization_settings": _visualization(card, names.column),
    }
    return Managed("card", key, str(dashboard.owner), content)


def _tag(key: str, card: QuestionCard, control: Filter) -> Content:
    settings = card.template_tags[control.key]
    tag: Content = {
        "id": stable_uuid(f"{key}/{control.key}"),
        "name": control.key,
        "display-name": control.title,
        "type": settings.type,
    }
    if settings.dimension:
        tag |= {"dimension": settings.dimension, "widget-type": control.type}
    return tag


def _target(card: QuestionCard, tag: str) -> list[Any]:
    kind = "dimension" if card.template_tags[tag].dimension else "variable"
    return [kind, ["template-tag", tag]]


def _card_parameter(key: str, card: QuestionCard, control: Filter) -> Content:
    return {
        "id": stable_uuid(f"{key}/{control.key}"),
        "name": control.title,
        "slug": control.key,
        "type": control.type,
        "target": _target(card, control.key),
    }


def _visualization(card: QuestionCard, name: Callable[[str], str]) -> Content:
    settings = card.visualization_settings
    dimensions = [name(each) for each in settings.dimensions]
    metrics = [name(each) for each in settings.metrics]
    drawn: Content
    if card.display == "table":
        drawn = {}
    elif card.display == "pie":
        drawn = {"pie.dimension": dimensions[0], "pie.metric": metrics[0]}
    elif card.display == "scalar":
        drawn = {"scalar.field": metrics[0]}
    elif card.display == "smartscalar":
        drawn = {
            "scalar.field": metrics[0],
            "scalar.comparisons": [
                _comparison(number, ago) for number, ago in enumerate(settings.comparisons, start=1)
            ],
            "scalar.switch_positive_negative": settings.switch_positive_negative,
        }
    else:
        drawn = {
            "graph.dimensions": dimensions,
            "graph.metrics": metrics,
            "graph.x_axis.title_text": settings.x_axis_title,
            "graph.y_axis.title_text": settings.y_axis_title,
        }
        if settings.stack_type:
            drawn["stackable.stack_type"] = settings.stack_type
    columns = dict.fromkeys([*settings.dimensions, *settings.metrics, *settings.column_settings])
    titled = {
        json.dumps(["name", name(each)], separators=(",", ":")): {
            "column_title": card.title_of(each),
            **_column(card.settings_of(each)),
        }
        for each in columns
    }
    return drawn | ({"column_settings": titled} if titled else {})


def _comparison(number: int, ago: int) -> Content:
    if ago == 1:
        return {"id": str(number), "type": "previousPeriod"}
    return {"id": str(number), "type": "periodsAgo", "value": ago}


def _column(settings: ColumnSettings) -> Content:
    shown: Content = {}
    if settings.number_style != "decimal":
        shown["number_style"] = settings.number_style
    if settings.number_style == "currency":
        shown["currency"] = settings.currency
    if settings.decimals is not None:
        shown["decimals"] = settings.decimals
    if settings.suffix:
        shown["suffix"] = settings.suffix
    if style := _DATE_STYLES.get(settings.temporal_unit):
        shown["date_style"] = style
    return shown


def _dashboard(dashboard: Dashboard, collection: str) -> Managed:
    content = {
        "name": dashboard.title,
        "description": f"{dashboard.description}\n\nOwner: {dashboard.owner}",
        "collection": collection,
        "collection_position": dashboard.collection_position,
        "parameters": [_parameter(dashboard, each) for each in dashboard.filters],
        "tabs": [tab.title for tab in dashboard.tabs],
        "dashcards": [
            _dashcard(dashboard, number, card)
            for number, tab in enumerate(dashboard.tabs)
            for card in sorted(tab.cards, key=lambda card: (card.position.row, card.position.col))
        ],
    }
    return Managed("dashboard", f"dashboard/{dashboard.key}", str(dashboard.owner), content)


def _parameter(dashboard: Dashboard, control: Filter) -> Content:
    return {
        "id": _parameter_id(dashboard, control.key),
        "name": control.title,
        "slug": control.key,
        "type": control.type,
        "sectionId": control.type.split("/")[0],
    }


def _parameter_id(dashboard: Dashboard, control: str) -> str:
    return stable_uuid(f"dashboard/{dashboard.key}/{control}")[:8]


def _dashcard(dashboard: Dashboard, tab: int, card: Card) -> Content:
    place = {"tab": tab, **card.position.model_dump()}
    if isinstance(card, TextCard):
        words = {"virtual_card": {"display": "text"}, "text": card.text}
        return {**place, "card": None, "visualization_settings": words, "parameter_mappings": []}
    mappings = [
        {"parameter_id": _parameter_id(dashboard, tag), "target": _target(card, tag)}
        for tag in sorted(card.template_tags, key=lambda tag: _parameter_id(dashboard, tag))
    ]
    key = card_key(dashboard.key, card.key)
    return {**place, "card": key, "visualization_settings": {}, "parameter_mappings": mappings}
