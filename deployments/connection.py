"""Declarations of what is replicated: `deployments/connections/<source>.yaml`, one file per database.

The models refuse anything they do not know, and every complaint names file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from blocks.airbyte_streams import SchemaChanges
from blocks.errors import ConfigurationError
from blocks.repair_policy import RepairPolicy
from deployments.connection_file import DeclarationFile, Place, not_a_mapping, refuse, wrong

FOLDER = Path(__file__).parent / "connections"
SyncMode = Literal[
    "full_refresh_overwrite", "full_refresh_append", "incremental_append", "incremental_deduped_history"
]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: Any) -> timedelta:
    match = re.fullmatch(r"([1-9]\d*)([smhd])", str(value))
    if match is None:
        raise ValueError("give seconds, minutes, hours or days, more than 0, like 90m, 26h or 2d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Name = Annotated[str, Field(min_length=1)]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RepairDeclaration(_Declared):
    """How streams are compared with their source and repaired; what is left out is as the level above says.

    The defaults stand in `blocks.repair_policy`.
    """

    compare: Literal["key", "all", "nothing"] | None = None
    compare_every: Duration | None = None
    window: Duration | None = None
    differences: Literal["repair", "report", "fail"] | None = None
    deletes: Literal["repair", "report", "fail", "ignore"] | None = None
    largest_share_deleted: float | None = Field(None, ge=0, le=1)


class StreamDeclaration(_Declared):
    """One table and how it is replicated."""

    name: Name = Field(description="the table's name in the source")
    namespace: Name = Field("public", description="its schema in the source")
    sync_mode: SyncMode
    cursor: Name | None = Field(None, description="column that grows with every change")
    primary_key: list[Name] = Field(default_factory=list)
    columns: list[Name] | None = Field(None, min_length=1, description="only these; None means all")
    fresh_within: Duration | None = Field(None, description="overrides the connection's")
    owner: Name | None = Field(None, description="overrides the connection's")
    repair: RepairDeclaration = Field(
        default_factory=RepairDeclaration, description="overrides the connection's, setting by setting"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        refuse("StreamDeclaration", self._problems())
        return self

    def _problems(self) -> Iterator[tuple[Place, str]]:
        if self.sync_mode.startswith("full_refresh") and self.cursor:
            yield ("cursor",), f"{self.sync_mode} reads everything: remove the cursor"
        if self.sync_mode == "incremental_deduped_history" and not self.primary_key:
            yield (), "incremental_deduped_history needs a primary_key"
        for field, names in {"primary_key": self.primary_key, "columns": self.columns or []}.items():
            doubles = sorted({name for name in names if names.count(name) > 1})
            if doubles:
                yield (field,), f"given twice: {', '.join(doubles)}"
        needed = {*self.primary_key, *([self.cursor] if self.cursor else [])}
        missing = sorted(needed - set(self.columns or needed))
        if missing:
            yield ("columns",), f"columns must hold the key and the cursor: {', '.join(missing)}"
        if self.repair.window is not None and not self.cursor:
            yield ("repair",), "repair.window needs a cursor"


class CdcOptions(_Declared):
    """What PostgreSQL's side of change data capture is called; made by a person, see Airbyte's documentation.

    https://docs.airbyte.com/integrations/sources/postgres/postgres-cdc
    """

    replication_slot: Name = Field(description="logical replication slot, of plugin pgoutput")
    publication: Name = Field(description="that holds every declared table")
    initial_waiting_seconds: int = Field(1200, ge=120, le=2400, description="for the first change")
    queue_size: int = Field(10_000, ge=1_000, le=10_000, description="changes held in memory")
    heartbeat_action_query: str = Field("", description="keeps the slot moving on a quiet database")
    lsn_commit_behaviour: Literal["While reading Data", "After loading Data in the destination"] = (
        "After loading Data in the destination"
    )
    invalid_cdc_cursor_position_behavior: Literal["Fail sync", "Re-sync data"] = "Fail sync"
    initial_load_timeout_hours: int = Field(8, ge=4, le=24)


class ConnectionDeclaration(_Declared):
    """One database and where its tables go."""

    # No underscore: Prefect allows none in the name of a block.
    source: str = Field(pattern=r"^[a-z][a-z0-9]*$", description="as in FLOE_SOURCES__<SOURCE>__...")
    owner: Name
    description: str = ""
    schemas: list[Name] = Field(default_factory=lambda: ["public"], min_length=1)
    destination_schema: str = Field(
        pattern=r"^[a-z][a-z0-9_]*(\$\{SOURCE_NAMESPACE\})?$",
        description="schema of the raw tables; ${SOURCE_NAMESPACE} stands for the source's schema",
    )
    table_prefix: str = Field(
        "", pattern=r"^([a-z][a-z0-9_]*)?$", description="put before the name of every raw table"
    )
    replication: Literal["cursor", "xmin", "cdc"] = Field(
        "cursor",
        description="how changes are found: a cursor column per stream; PostgreSQL's row versions "
        "(xmin: no cursor needed, no deletes, no views); its write-ahead log (cdc: deletes too)",
    )
    cdc: CdcOptions | None = Field(None, description="for replication: cdc")
    schema_changes: SchemaChanges = Field(
        default_factory=SchemaChanges, description="what to do when the source looks otherwise"
    )
    fresh_within: Duration = Field(description="how old the last good sync may be")
    deadline: Duration = Field(timedelta(hours=6), description="for one sync; then it is cancelled")
    stall: Duration = Field(
        timedelta(minutes=30), description="without progress while it runs; then it is cancelled"
    )
    poll: Duration = Field(timedelta(seconds=5), description="longest pause between two looks at a sync")
    repair: RepairDeclaration = Field(default_factory=RepairDeclaration)
    streams: list[StreamDeclaration] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse(
            "ConnectionDeclaration", [*self._method_problems(), *self._cursor_problems(), *self._collisions()]
        )
        return self

    def target_schema(self, stream: StreamDeclaration) -> str:
        """Return the schema in the warehouse that a stream is written to."""
        return self.destination_schema.replace("${SOURCE_NAMESPACE}", stream.namespace)

    def target_table(self, stream: StreamDeclaration) -> str:
        """Return the name of a stream's raw table."""
        return self.table_prefix + stream.name

    def _method_problems(self) -> Iterator[tuple[Place, str]]:
        if self.replication == "cdc" and self.cdc is None:
            yield ("replication",), "cdc needs cdc: with replication_slot and publication"
        if self.replication != "cdc" and self.cdc is not None:
            yield ("cdc",), f"goes with replication: cdc, not {self.replication}"

    def _cursor_problems(self) -> Iterator[tuple[Place, str]]:
        for number, stream in enumerate(self.streams):
            if not stream.sync_mode.startswith("incremental"):
                continue
            if self.replication == "cursor" and not stream.cursor:
                yield ("streams", number), f"{stream.sync_mode} needs a cursor"
            if self.replication != "cursor" and stream.cursor:
                yield (
                    ("streams", number, "cursor"),
                    f"{self.replication} finds changes by itself: remove the cursor",
                )

    def _collisions(self) -> Iterator[tuple[Place, str]]:
        targets: dict[tuple[str, str], str] = {}
        for number, stream in enumerate(self.streams):
            if stream.namespace not in self.schemas:
                field = "namespace" if "namespace" in stream.model_fields_set else "name"
                yield (
                    ("streams", number, field),
                    f"stream {stream.name}: schema {stream.namespace} is not among schemas",
                )
            target, name = self.target_key(stream), f"{stream.namespace}.{stream.name}"
            if target in targets:
                yield (
                    ("streams", number, "name"),
                    f"{targets[target]} and {name} would be the same table {'.'.join(target)}",
                )
            targets.setdefault(target, name)

    def target_key(self, stream: StreamDeclaration) -> tuple[str, str]:
        """Return schema and raw table so that equal ones are one table.

        Snowflake folds names to upper case, so names that differ in case only are one table.
        """
        return self.target_schema(stream).lower(), self.target_table(stream).lower()

    def repair_policy(self, stream: StreamDeclaration) -> RepairPolicy:
        """Return how a stream is compared and repaired."""
        settings = self.repair.model_dump(exclude_none=True) | stream.repair.model_dump(exclude_none=True)
        if not stream.cursor:
            settings.pop("window", None)
        return RepairPolicy(**settings)


def load_declarations(folder: Path = FOLDER) -> list[ConnectionDeclaration]:
    """Read every declaration in `folder`, ordered by source.

    Raises:
        ConfigurationError: a file is wrong; the message lists file, line and reason of each problem.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigurationError(f"No connection is declared in {folder}")
    declarations = [load_declaration(file) for file in files]
    sources = [declaration.source for declaration in declarations]
    doubles = sorted({source for source in sources if sources.count(source) > 1})
    if doubles:
        raise ConfigurationError(f"Declared in more than one file of {folder}: {', '.join(doubles)}")
    _refuse_shared_tables(list(zip(files, declarations, strict=True)))
    return sorted(declarations, key=lambda declaration: declaration.source)


def _refuse_shared_tables(declared: Sequence[tuple[Path, ConnectionDeclaration]]) -> None:
    """Two connections that write one raw table would overwrite each other's rows in turn."""
    writers: dict[tuple[str, str], str] = {}
    problems = []
    for file, declaration in declared:
        for number, stream in enumerate(declaration.streams):
            target = declaration.target_key(stream)
            writer = f"{declaration.source}'s {stream.namespace}.{stream.name}"
            if target in writers:
                line = DeclarationFile(file).line(("streams", number, "name"))
                both = f"{writers[target]} and {writer}"
                problems.append(f"{file}:{line}: {both} would be the same table {'.'.join(target)}")
            writers.setdefault(target, writer)
    if problems:
        raise wrong(problems)


def load_declaration(file: Path) -> ConnectionDeclaration:
    """Read one declaration.

    Raises:
        ConfigurationError: the file is wrong; the message lists line and reason of each problem.
    """
    read = DeclarationFile(file)
    if not isinstance(read.content, dict):
        not_a_mapping(file)
    try:
        return ConnectionDeclaration.model_validate(read.content)
    except ValidationError as error:
        raise wrong(read.problems(error)) from None
