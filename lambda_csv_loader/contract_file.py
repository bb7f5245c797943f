"""Read a YAML file into a model, and say what is wrong with it by file, line and reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from lambda_csv_loader.errors import PermanentError

Where = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


class BadContract(PermanentError):
    """A contract file cannot be read; the message names file, line and reason."""


def wrong(message: str, *where: str | int) -> PydanticCustomError:
    """Return an error about several keys; it is reported on the line of the key `where`."""
    return PydanticCustomError("inconsistent", "{message}", {"message": message, "where": where})


def read_model(path: Path, model: type[M]) -> M:
    """Read `path` as YAML into `model`.

    Raises:
        BadContract: it is not UTF-8, not YAML, or does not fit the model; with the line.
    """
    node, declared = _parse(path)
    lines = dict(_lines(node, ()))
    try:
        return model.model_validate(declared)
    except ValidationError as error:
        raise BadContract(
            "\n".join(_problem(path, lines, problem) for problem in error.errors(include_url=False)),
            state="files of this dataset wait in the bucket",
            next_command=f"mend {path.name}, then `floe files status`",
        ) from None


def _parse(path: Path) -> tuple[yaml.Node | None, Any]:
    state = "nothing was loaded"
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_doubled_keys(path, node)
        return node, yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise BadContract(f"{path.name}: not UTF-8 at byte {error.start}", state=state) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise BadContract(f"{path.name}{line}: {problem}", state=state) from None


def _refuse_doubled_keys(path: Path, node: yaml.Node | None) -> None:
    """YAML's own reader takes the last of two equal keys without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen:
                raise BadContract(
                    f"{path.name}:{line}: {key.value}: declared twice, first on line {seen[key.value]}",
                    state="nothing was loaded",
                )
            seen[key.value] = line
            _refuse_doubled_keys(path, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_doubled_keys(path, item)


def _lines(node: yaml.Node | None, path: Where) -> Iterator[tuple[Where, int]]:
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from (
                (inner, line)
                for inner, line in _lines(value, (*path, key.value))
                if inner != (*path, key.value)
            )
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, (*path, number))


def _problem(path: Path, lines: dict[Where, int], problem: Any) -> str:
    where = (*problem["loc"], *problem.get("ctx", {}).get("where", ()))
    known = where
    while known and known not in lines:
        known = known[:-1]
    name = ".".join(str(part) for part in where)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path.name}:{lines.get(known, 1)}: {name + ': ' if name else ''}{message}"
