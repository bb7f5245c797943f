"""Declarations of what is replicated: `deployments/connections/<source>.yaml`, one file per database.

The models refuse anything they do not know, and every complaint names file and line.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from blocks.errors import ConfigurationError

FOLDER = Path(__file__).parent / "connections"
SyncMode = Literal[
    "full_refresh_overwrite", "full_refresh_append", "incremental_append", "incremental_deduped_history"
]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _duration(value: Any) -> timedelta:
    match = re.fullmatch(r"(\d+)([mhd])", str(value))
    if match is None:
        raise ValueError("give minutes, hours or days, like 90m, 26h or 2d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamDeclaration(_Declared):
    """One table and how it is replicated."""

    name: str = Field(description="the table's name in the source")
    namespace: str = Field("public", description="its schema in the source")
    sync_mode: SyncMode
    cursor: str | None = Field(None, description="column that grows with every change")
    primary_key: list[str] = Field(default_factory=list)
    columns: list[str] | None = Field(None, description="only these; None means all")
    fresh_within: Duration | None = Field(None, description="overrides the connection's")
    owner: str | None = Field(None, description="overrides the connection's")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.sync_mode.startswith("incremental") and not self.cursor:
            raise ValueError(f"{self.sync_mode} needs a cursor")
        if self.sync_mode.startswith("full_refresh") and self.cursor:
            raise ValueError(f"{self.sync_mode} reads everything: remove the cursor")
        if self.sync_mode == "incremental_deduped_history" and not self.primary_key:
            raise ValueError("incremental_deduped_history needs a primary_key")
        needed = {*self.primary_key, *([self.cursor] if self.cursor else [])}
        missing = sorted(needed - set(self.columns or needed))
        if missing:
            raise ValueError(f"columns must hold the key and the cursor: {', '.join(missing)}")
        return self


class ConnectionDeclaration(_Declared):
    """One database and where its tables go."""

    source: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="as in FLOE_SOURCES__<SOURCE>__...")
    owner: str
    description: str = ""
    schemas: list[str] = Field(default_factory=lambda: ["public"], min_length=1)
    destination_schema: str = Field(
        pattern=r"^[a-z][a-z0-9_]*(\$\{SOURCE_NAMESPACE\})?$",
        description="schema of the raw tables; ${SOURCE_NAMESPACE} stands for the source's schema",
    )
    fresh_within: Duration = Field(description="how old the last good sync may be")
    streams: list[StreamDeclaration] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_collision(self) -> Self:
        targets: dict[tuple[str, str], str] = {}
        for stream in self.streams:
            if stream.namespace not in self.schemas:
                raise ValueError(f"stream {stream.name}: schema {stream.namespace} is not among schemas")
            # Snowflake folds names to upper case, so names that differ in case only are one table.
            target = (self.target_schema(stream).lower(), stream.name.lower())
            name = f"{stream.namespace}.{stream.name}"
            if target in targets:
                raise ValueError(f"{targets[target]} and {name} would be the same table {'.'.join(target)}")
            targets[target] = name
        return self

    def target_schema(self, stream: StreamDeclaration) -> str:
        """Return the schema in the warehouse that a stream is written to."""
        return self.destination_schema.replace("${SOURCE_NAMESPACE}", stream.namespace)


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
    return sorted(declarations, key=lambda declaration: declaration.source)


def load_declaration(file: Path) -> ConnectionDeclaration:
    """Read one declaration.

    Raises:
        ConfigurationError: the file is wrong; the message lists line and reason of each problem.
    """
    try:
        node = yaml.compose(file.read_text(), Loader=yaml.SafeLoader)
        content = yaml.safe_load(file.read_text())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _wrong([f"{file}:{line}: {error.problem}"]) from None
    if not isinstance(content, dict):
        raise _wrong([f"{file}:1: a mapping with source, owner, streams, ... is expected"])
    try:
        return ConnectionDeclaration.model_validate(content)
    except ValidationError as error:
        raise _wrong(
            [
                f"{file}:{_line(node, problem['loc'])}: {_where(problem['loc'])}{_what(problem['msg'])}"
                for problem in error.errors(include_input=False, include_url=False)
            ]
        ) from None


def _wrong(problems: list[str]) -> ConfigurationError:
    return ConfigurationError(
        "A connection is declared wrongly:\n" + "\n".join(problems), next_command="floe connections plan"
    )


def _line(node: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    """Return the line (from 1) of the deepest part of `path` that is in the file."""
    if node is None:
        return 1
    line: int = node.start_mark.line + 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _where(path: tuple[int | str, ...]) -> str:
    return f"{'.'.join(str(step) for step in path)}: " if path else ""


def _what(message: str) -> str:
    return message.removeprefix("Value error, ")
