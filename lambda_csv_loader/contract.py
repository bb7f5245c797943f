"""Dataset contracts: what a CSV file of a dataset must look like, declared in `<dataset>.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lambda_csv_loader.column_types import ColumnType, bound_of
from lambda_csv_loader.errors import PermanentError

MEGABYTE = 1_000_000


class BadContract(PermanentError):
    """A contract file cannot be read; the message names file, line and reason."""


class NoContract(PermanentError):
    """No contract is declared for a dataset."""


class Column(BaseModel):
    """One column of a dataset, as the warehouse stores it and as the file must spell it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    type: str = Field(
        description="bigint, integer, decimal(p,s), double, boolean, date, timestamp(tz), varchar(n)"
    )
    nullable: bool = True
    min: Decimal | str | None = Field(None, description="smallest value allowed; ISO text for dates")
    max: Decimal | str | None = Field(None, description="largest value allowed; ISO text for dates")
    pattern: str | None = Field(None, description="RE2 pattern that the whole text must match")
    values: tuple[str, ...] | None = Field(None, description="the only texts allowed")
    description: str = ""

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        return ColumnType.parse(value).declared

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            re.compile(value)
        return value

    @model_validator(mode="after")
    def _bounds_fit(self) -> Column:
        for bound in (self.min, self.max):
            if bound is not None:
                # pyarrow's own error is a ValueError, so pydantic reports it with the line.
                bound_of(bound, self.column_type.arrow)
        return self

    @property
    def column_type(self) -> ColumnType:
        """Return the parsed type."""
        return ColumnType.parse(self.type)


class Contract(BaseModel):
    """Everything the loader must know about a dataset. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    owner: str = Field(min_length=1, description="who is asked about a bad file")
    description: str = ""

    delimiter: str = Field(",", min_length=1, max_length=1)
    quote: str | None = Field('"', min_length=1, max_length=1)
    escape: str | None = Field(None, min_length=1, max_length=1)
    encoding: str = "utf-8"
    null_tokens: tuple[str, ...] = ("",)
    header: Literal["exact", "any_order", "normalised"] = Field(
        "any_order", description="normalised also ignores case and surrounding spaces"
    )
    extra_columns: Literal["fail", "ignore"] = "fail"
    max_megabytes: int = Field(2_000, gt=0, description="of the decompressed file, in 10^6 bytes")
    max_compression_ratio: int = Field(200, gt=1)

    mode: Literal["snapshot", "append", "upsert"]
    partition_by: str | None = Field(None, description="snapshot: the column whose value a file replaces")
    primary_key: tuple[str, ...] = ()
    reject_threshold: int = Field(0, ge=0, description="rows a file may lose before it fails as a whole")
    allow_empty: bool = Field(False, description="snapshot: a file without rows is right")
    same_content: Literal["skip", "load"] = Field("skip", description="what a copy under another key does")

    schema_name: str = Field("raw_files", pattern=r"^[a-z][a-z0-9_]*$")
    columns: tuple[Column, ...] = Field(min_length=1)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"unknown encoding {value!r}") from None
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        names = [column.name for column in self.columns]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"columns declared twice: {', '.join(doubled)}")
        for name in (*self.primary_key, *([self.partition_by] if self.partition_by else [])):
            if name not in names:
                raise ValueError(f"{name!r} is a key or partition but not a column")
            if self.column(name).nullable:
                raise ValueError(f"{name!r} is a key or partition, so it needs `nullable: false`")
        if self.partition_by and self.mode != "snapshot":
            raise ValueError(f"`partition_by` belongs to mode snapshot, not {self.mode}")
        if self.mode == "upsert" and not self.primary_key:
            raise ValueError("mode upsert needs a `primary_key`")
        return self

    def column(self, name: str) -> Column:
        """Return the column called `name`."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """Return the column names in declared order."""
        return [column.name for column in self.columns]

    @property
    def multiline(self) -> bool:
        """Tell whether a quoted value may hold a line end: only text can."""
        return self.quote is not None and any(column.column_type.is_text for column in self.columns)


def load_contract(path: Path) -> Contract:
    """Read one contract file.

    Raises:
        BadContract: it is not YAML, or a key is unknown, missing or wrong; with the line.
    """
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        declared = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise BadContract(f"{path.name}{line}: {problem}", state="nothing was loaded") from None
    try:
        contract = Contract.model_validate(declared)
    except ValidationError as error:
        lines = dict(_lines(node, ()))
        raise BadContract(
            "\n".join(_problem(path, lines, problem) for problem in error.errors(include_url=False)),
            state="files of this dataset wait in the bucket",
            next_command=f"mend {path.name}, then `floe files status`",
        ) from None
    if contract.dataset != path.stem:
        raise BadContract(f"{path.name}: `dataset: {contract.dataset}` must equal the file's name")
    return contract


class Contracts:
    """The contracts of a folder, each read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[float, Contract]] = {}

    def names(self) -> list[str]:
        """Return the datasets declared, sorted."""
        return sorted(path.stem for path in self._folder.glob("*.yaml"))

    def get(self, dataset: str) -> Contract:
        """Return the contract of `dataset`, read again when its file changed.

        Raises:
            NoContract: there is none.
            BadContract: there is one and it is wrong.
        """
        path = self._folder / f"{dataset}.yaml"
        # A key is chosen by whoever may write to the bucket: it must not name a path of ours.
        if not re.fullmatch(r"[a-z][a-z0-9_]*", dataset) or not path.is_file():
            raise NoContract(
                f"no contract for dataset {dataset!r}",
                next_command=f"floe files infer <file.csv> > deployments/datasets/{dataset}.yaml",
            )
        changed = path.stat().st_mtime
        known = self._read.get(dataset)
        if known is None or known[0] != changed:
            known = self._read[dataset] = (changed, load_contract(path))
        return known[1]


def _lines(
    node: yaml.Node | None, path: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], int]]:
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


def _problem(path: Path, lines: dict[tuple[str | int, ...], int], problem: Any) -> str:
    where = tuple(problem["loc"])
    known = where
    while known and known not in lines:
        known = known[:-1]
    name = ".".join(str(part) for part in where)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path.name}:{lines.get(known, 1)}: {name + ': ' if name else ''}{message}"
