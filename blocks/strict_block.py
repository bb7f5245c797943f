"""The base of Floe's Prefect blocks: a misspelt field is refused, a block that is not saved is named."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from prefect.blocks.core import Block
from prefect.exceptions import ObjectNotFound
from prefect.utilities.dispatch import lookup_type
from pydantic import ConfigDict, ValidationError, model_validator

from blocks.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from prefect.client.orchestration import PrefectClient


class NoSuchBlock(ConfigurationError):
    """A block that is needed was never saved on the Prefect server, or was deleted."""


@cache
def _json_schema(kind: type[Block], *arguments: Any, **options: Any) -> dict[str, Any]:
    schema: dict[str, Any] = Block.model_json_schema.__func__(kind, *arguments, **options)  # type: ignore[attr-defined]
    return schema


class StrictBlock(Block):
    """A block that knows its fields and refuses others."""

    model_config = ConfigDict(extra="forbid")

    saved_by: ClassVar[str] = "floe blocks register"
    """The command that saves blocks of this class."""

    @classmethod
    def load(
        cls, name: str, validate: bool = True, client: PrefectClient | None = None
    ) -> Self | Coroutine[Any, Any, Self]:
        """Return the saved block of a name.

        Args:
            name: of the block.
            validate: refuse it where it lacks fields.
            client: of the Prefect server.

        Raises:
            NoSuchBlock: no block has that name.
            ConfigurationError: it was saved with other fields than it has now.
        """
        try:
            return super().load(name, validate=validate, client=client)
        except (ValueError, RuntimeError) as error:
            cause = error.__cause__
            if not isinstance(cause, ObjectNotFound | ValidationError):
                raise
        # Here, so that a traceback does not show the values of its fields.
        raise cls._not_loaded(name, cause)

    @classmethod
    def _not_loaded(cls, name: str, cause: ObjectNotFound | ValidationError) -> ConfigurationError:
        block, told = f"block `{name}` ({cls.get_block_type_name()})", "what needs it was not begun"
        if isinstance(cause, ObjectNotFound):
            return NoSuchBlock(
                f"There is no {block} on the Prefect server", state=told, next_command=cls.saved_by
            )
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'all'}: {each['msg']}"
            for each in cause.errors(include_input=False)
        )
        return ConfigurationError(
            f"The {block} is not as Floe needs it: {wrong}", state=told, next_command=cls.saved_by
        )

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
