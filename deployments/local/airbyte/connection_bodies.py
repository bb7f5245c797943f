"""Connections as clients write them: Airbyte's fields, those that are lacking here refused by name.

See https://reference.airbyte.com/reference/createconnection.
"""

from __future__ import annotations

from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from deployments.local.airbyte.job_spec import SchemaUpdates, SyncMode
from deployments.local.airbyte.problems import Problem, lacking

Model = TypeVar("Model", bound=BaseModel)
_OTHER_MODES = (
    "full_refresh_overwrite_deduped",
    "full_refresh_update",
    "full_refresh_soft_delete",
    "incremental_update",
    "incremental_soft_delete",
)


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            # An empty list of tags or mappers asks for nothing.
            if value not in (None, [], {}):
                raise lacking(f"the field {name} of a {self.__class__.__name__.removesuffix('Body').lower()}")
        return self


class SelectedFieldBody(_Body):
    """A column that is replicated."""

    fieldPath: list[str]  # noqa: N815


class StreamBody(_Body):
    """A stream of a connection."""

    name: str
    namespace: str | None = None
    syncMode: SyncMode | None = None  # noqa: N815
    cursorField: list[str] | None = None  # noqa: N815
    primaryKey: list[list[str]] | None = None  # noqa: N815
    selectedFields: list[SelectedFieldBody] | None = None  # noqa: N815

    @field_validator("syncMode", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        if value in _OTHER_MODES:
            raise lacking(f"the sync mode {value}")
        return value


class ConfigurationsBody(_Body):
    """The streams of a connection; None for all."""

    streams: list[StreamBody] | None = None


class ScheduleBody(_Body):
    """When Airbyte would start syncs by itself."""

    scheduleType: Literal["manual", "cron", "basic"] = "manual"  # noqa: N815

    @model_validator(mode="after")
    def _by_hand(self) -> Self:
        if self.scheduleType != "manual":
            raise lacking(f"the schedule type {self.scheduleType}: Prefect starts the syncs")
        return self


class ConnectionBody(_Body):
    """A connection to be made, or what it is to become."""

    sourceId: str  # noqa: N815
    destinationId: str  # noqa: N815
    name: str | None = None
    status: Literal["active", "inactive", "deprecated"] | None = None
    schedule: ScheduleBody | None = None
    namespaceDefinition: Literal["source", "destination", "custom_format"] | None = None  # noqa: N815
    namespaceFormat: str | None = None  # noqa: N815
    prefix: str | None = None
    nonBreakingSchemaUpdatesBehavior: SchemaUpdates | None = None  # noqa: N815
    configurations: ConfigurationsBody | None = None

    @field_validator("nonBreakingSchemaUpdatesBehavior", mode="before")
    @classmethod
    def _no_new_streams(cls, value: Any) -> Any:
        if value == "propagate_fully":
            raise lacking(
                "nonBreakingSchemaUpdatesBehavior propagate_fully: it adds columns (propagate_columns), but "
                "never streams, which are declared"
            )
        return value


def validated(model: type[Model], body: Any, where: str = "body") -> Model:
    """Return a body as its model.

    Raises:
        Problem: 422 for a wrong value, 501 for what this stand-in lacks.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        problems = (
            ".".join([where, *(str(part) for part in item["loc"])]) + f": {item['msg']}"
            for item in error.errors(include_input=False)
        )
        raise Problem(422, "; ".join(problems)) from None
