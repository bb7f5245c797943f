"""Queries as the server gives them back: MBQL 5 whatever was sent, with uuids and options of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from tests.fake_metabase.bodies import Document, bad, check_tags


def sql_and_tags(query: Mapping[str, Any]) -> tuple[str, Document]:
    """Read a native query in either form."""
    if "stages" in query:
        (stage,) = query["stages"]
        if query.get("lib/type") != "mbql/query" or stage.get("lib/type") != "mbql.stage/native":
            raise bad("dataset_query", "the fake knows native queries only")
        return stage["native"], stage.get("template-tags") or {}
    if query.get("type") != "native":
        raise bad("dataset_query", "the fake knows native queries only")
    return query["native"]["query"], query["native"].get("template-tags") or {}


def stored(query: Mapping[str, Any], base_type: Callable[[int], str]) -> Document:
    """Return a query as MBQL 5.

    Args:
        query: as it was sent.
        base_type: of the field of an id; raises for one that does not exist.
    """
    sql, tags = sql_and_tags(query)
    check_tags(sql, tags)
    return {
        "lib/type": "mbql/query",
        "lib/uuid": str(uuid4()),
        "database": query["database"],
        "stages": [
            {
                "lib/type": "mbql.stage/native",
                "lib/uuid": str(uuid4()),
                "native": sql,
                "template-tags": {name: _tag(tag, base_type) for name, tag in tags.items()},
            }
        ],
    }


def _tag(tag: Mapping[str, Any], base_type: Callable[[int], str]) -> Document:
    filled = {"default": None, "required": False, **tag}
    if "dimension" not in tag:
        return filled
    number = next(part for part in tag["dimension"][1:] if isinstance(part, int))
    options = {"lib/uuid": str(uuid4()), "base-type": base_type(number)}
    return {**filled, "dimension": ["field", options, number]}


def with_stage(mapping: Mapping[str, Any]) -> Document:
    """Return a parameter mapping with the option that Metabase adds to its target."""
    target = mapping["target"]
    return {**mapping, "target": [*target[:2], {"stage-number": 0}] if target[0] == "dimension" else target}
