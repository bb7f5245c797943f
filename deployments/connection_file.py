"""YAML files of declarations, with the line of everything that is wrong in them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from blocks.errors import ConfigurationError

Place = tuple[int | str, ...]


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class DeclarationFile:
    """One file, read but not yet understood."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigurationError: it is not YAML, or has a key twice.
        """
        self.path = path
        text = path.read_text()
        try:
            self._node = yaml.compose(text, Loader=yaml.SafeLoader)
            self.content = yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise wrong([f"{path}:{line}: {error.problem}"]) from None

    def line(self, place: Place) -> int:
        """Return the line (from 1) of the deepest part of `place` that is in the file."""
        node = self._node
        if node is None:
            return 1
        line: int = node.start_mark.line + 1
        for step in place:
            found = _child(node, step)
            if found is None:
                break
            node, line = found
        return line

    def problems(self, error: ValidationError) -> list[str]:
        """Return what a model refused, each with file, line and place."""
        return [
            f"{self.path}:{self.line(problem['loc'])}: {_where(problem['loc'])}"
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_input=False, include_url=False)
        ]


def _child(node: yaml.Node, step: int | str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return None


def wrong(problems: Iterable[str]) -> ConfigurationError:
    """Return the error that lists what is wrong in declarations."""
    return ConfigurationError(
        "A connection is declared wrongly:\n" + "\n".join(problems), next_command="floe connections plan"
    )


def refuse(model: str, problems: Iterable[tuple[Place, str]]) -> None:
    """Refuse a model from within one of its validators, with the place of each problem.

    Args:
        model: its name.
        problems: where, below the model, and why; none is fine.

    Raises:
        ValidationError: there is a problem.
    """
    details = [
        InitErrorDetails(
            type=PydanticCustomError("declaration", "{why}", {"why": why}), loc=place, input=None
        )
        for place, why in problems
    ]
    if details:
        raise ValidationError.from_exception_data(model, details)


def _where(place: Place) -> str:
    return f"{'.'.join(str(step) for step in place)}: " if place else ""


def not_a_mapping(path: Path) -> NoReturn:
    """Refuse a file that is no mapping."""
    raise wrong([f"{path}:1: a mapping with source, owner, streams, ... is expected"])
