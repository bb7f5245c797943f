"""The base of Floe's Prefect blocks: a misspelt field is refused instead of being kept in silence."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any, Self

from prefect.blocks.core import Block
from prefect.utilities.dispatch import lookup_type
from pydantic import ConfigDict, model_validator


@cache
def _json_schema(kind: type[Block], *arguments: Any, **options: Any) -> dict[str, Any]:
    schema: dict[str, Any] = Block.model_json_schema.__func__(kind, *arguments, **options)  # type: ignore[attr-defined]
    return schema


class StrictBlock(Block):
    """A block that knows its fields and refuses others."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_type_slug(cls, fields: Any) -> Any:
        """Take out what Prefect itself adds to a block that is saved inside another block."""
        if isinstance(fields, dict):
            return {name: value for name, value in fields.items() if name != "block_type_slug"}
        return fields

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the class's JSON schema, a copy of the caller's own.

        Prefect asks for it a hundred times to save one block, and works it out anew each time.
        """
        return deepcopy(_json_schema(cls, *arguments, **options))

    @classmethod
    def get_block_class_from_key(cls, key: str) -> type[Self]:
        """Return the class of a block saved inside this one.

        Prefect imports every installed integration for this (prefect-dbt, prefect-snowflake ...: 5
        seconds and 230 MB in each flow run); a class that is imported already needs none of them.
        """
        try:
            return lookup_type(cls, key)
        except KeyError:
            return super().get_block_class_from_key(key)
