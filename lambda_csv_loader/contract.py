"""Dataset contracts: what a CSV file of a dataset must look like, declared in `<dataset>.yaml`."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lambda_csv_loader.column_types import ColumnType, bound_of
from lambda_csv_loader.contract_file import BadContract, read_model, wrong
from lambda_csv_loader.errors import PermanentError

MEGABYTE = 1_000_000
OWN_COLUMNS = ("_file_id", "_file_row", "_loaded_at")
"""Columns that the loader adds to every row."""


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

    @field_validator("name")
    @classmethod
    def _not_ours(cls, value: str) -> str:
        if value.casefold() in OWN_COLUMNS:
            raise ValueError(f"{value!r} is a column that the loader adds itself")
        if not value.isprintable():
            raise ValueError("a column's name holds a line end or another control character")
        return value

    @field_validator("type")
    @classmethod
    def _known_type(cls, value: str) -> str:
        return ColumnType.parse(value).declared

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            # By the engine that applies it: Python's own knows look-ahead, RE2 does not.
            pc.match_substring_regex(pa.array([""]), whole(value))
        return value

    @model_validator(mode="after")
    def _bounds_fit(self) -> Column:
        kind = self.column_type.arrow
        limits = {}
        for name, bound in (("min", self.min), ("max", self.max)):
            if bound is None:
                continue
            try:
                # pyarrow's own error is a ValueError, too, so pydantic reports it with the line.
                limits[name] = bound_of(bound, kind)
            except ValueError as error:
                raise wrong(str(error), name) from None
        if len(limits) == 2 and pc.greater(limits["min"], limits["max"]).as_py():
            raise wrong(f"min {self.min} is above max {self.max}", "min")
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
    multiline: bool = Field(
        False,
        description="quoted texts may hold line ends; else one closes its quote on its line, so that a "
        "forgotten quote never swallows the rows after it",
    )
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
    same_content: Literal["skip", "load"] = Field(
        "skip", description="what a copy under another key does; in mode upsert it is always loaded"
    )

    schema_name: str = Field("raw_files", pattern=r"^[a-z][a-z0-9_]*$")
    columns: tuple[Column, ...] = Field(min_length=1)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
            codecs.getincrementaldecoder(value)
        except LookupError:
            raise ValueError(f"unknown encoding {value!r}") from None
        return value

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def _one_byte(cls, value: str | None) -> str | None:
        if value is not None and (not value.isascii() or value in "\r\n\0"):
            raise ValueError("must be an ASCII character, and no line end")
        return value

    @model_validator(mode="after")
    def _marks_differ(self) -> Contract:
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark is not None]
        if len(set(marks)) < len(marks):
            raise wrong("delimiter, quote and escape must differ; a doubled quote needs no escape", "escape")
        if self.multiline and not (self.quote and any(one.column_type.is_text for one in self.columns)):
            raise wrong("`multiline` needs a quote and a column of text", "multiline")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Contract:
        # Neither warehouse tells names apart that differ only in case.
        times = Counter(column.name.casefold() for column in self.columns)
        doubled = [number for number, column in enumerate(self.columns) if times[column.name.casefold()] > 1]
        if doubled:
            names = ", ".join(sorted({self.columns[number].name for number in doubled}))
            raise wrong(f"columns declared twice: {names}", "columns", doubled[-1], "name")
        keys = dict.fromkeys(self.primary_key, "primary_key")
        if self.partition_by:
            keys[self.partition_by] = "partition_by"
        for name, key in keys.items():
            if name not in self.names:
                raise wrong(f"{name!r} is a key or partition but not a column", key)
            if self.column(name).nullable:
                raise wrong(f"{name!r} is a key or partition, so it needs `nullable: false`", key)
        if self.partition_by and self.mode != "snapshot":
            raise wrong(f"`partition_by` belongs to mode snapshot, not {self.mode}", "partition_by")
        if self.mode == "upsert" and not self.primary_key:
            raise wrong("mode upsert needs a `primary_key`", "mode")
        return self

    def column(self, name: str) -> Column:
        """Return the column called `name`."""
        return next(column for column in self.columns if column.name == name)

    @property
    def names(self) -> list[str]:
        """Return the column names in declared order."""
        return [column.name for column in self.columns]


def whole(pattern: str) -> str:
    """Return the RE2 pattern that only matches where the whole text matches `pattern`."""
    return rf"\A(?:{pattern})\z"


def load_contract(path: Path) -> Contract:
    """Read one contract file.

    Raises:
        BadContract: it is not YAML, or a key is unknown, missing, doubled or wrong; with the line.
    """
    contract = read_model(path, Contract)
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
