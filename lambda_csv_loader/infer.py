"""Propose a contract from a sample file: the narrowest types that every value fits."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import yaml

from lambda_csv_loader.column_types import ColumnType
from lambda_csv_loader.contract import Column, Contract
from lambda_csv_loader.errors import PermanentError
from lambda_csv_loader.rules import check_column

SAMPLE_BYTES = 32 << 20
_DELIMITERS = ",;\t|"
_NARROWEST = ("bigint", "double", "date", "timestamp", "timestamptz", "boolean")
_NULLS = ("NULL", "null", "NA", "N/A", "\\N")


class NotCsv(PermanentError):
    """The sample cannot be read as CSV with a header."""


def infer(path: Path, dataset: str | None = None) -> str:
    """Return the text of a contract that the sample file fulfils.

    Args:
        path: the sample; its first 32 MB are looked at.
        dataset: the dataset's name; made from the file's name when None.

    Raises:
        NotCsv: there is no header, or rows have different numbers of values.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    if len(sample) == SAMPLE_BYTES:
        sample = sample[: sample.rfind(b"\n") + 1]
    delimiter, names = _header(path, sample)
    table = _read(path, sample, delimiter, names)
    tokens = ["", *(token for token in _NULLS if _has(table, token))]
    columns = [_column(name, table[name].combine_chunks(), tokens) for name in names]
    proposal = _text(dataset or dataset_name(path), delimiter, tokens, columns, _key(table, columns))
    return proposal.replace("mode:", "multiline: true\nmode:", 1) if _has_lines(table) else proposal


def dataset_name(path: Path) -> str:
    """Return a dataset's name from a file's: no date, lower case, underscores."""
    stem = re.sub(r"\d[\d_-]*", "", path.name.split(".")[0])
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_") or "dataset"


def _header(path: Path, sample: bytes) -> tuple[str, list[str]]:
    """Return the delimiter and the names, which a contract must be able to declare."""
    try:
        text = io.StringIO(sample.decode("utf-8-sig"), newline="")
        first = text.readline()
        delimiter = max(_DELIMITERS, key=first.count)
        text.seek(0)
        names = next(csv.reader(text, delimiter=delimiter, strict=True), [])
    except UnicodeDecodeError:
        raise NotCsv(f"{path.name} is not UTF-8") from None
    except csv.Error as error:
        raise NotCsv(f"{path.name}: the header cannot be split: {error}") from None
    if not names:
        raise NotCsv(f"{path.name} has no header")
    times = Counter(name.casefold() for name in names)
    doubled = sorted({name for name in names if times[name.casefold()] > 1})
    if doubled:
        raise NotCsv(f"{path.name}: columns that the header names twice: {', '.join(doubled)}")
    for number, name in enumerate(names, start=1):
        try:
            Column(name=name, type="varchar")
        except ValueError:
            raise NotCsv(f"{path.name}: column {number} has no name that a contract can declare") from None
    return delimiter, names


def _read(path: Path, sample: bytes, delimiter: str, names: list[str]) -> pa.Table:
    try:
        return pa_csv.read_csv(
            pa.BufferReader(sample),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise NotCsv(f"{path.name}: {error}") from None


def _has_lines(table: pa.Table) -> bool:
    return any(pc.any(pc.match_substring_regex(column, r"[\r\n]")).as_py() for column in table.columns)


def _has(table: pa.Table, token: str) -> bool:
    return any(pc.any(pc.equal(column, token)).as_py() for column in table.columns)


def _column(name: str, texts: pa.Array, tokens: list[str]) -> dict[str, object]:
    empty = pc.is_in(texts, pa.array(tokens))
    filled = texts.filter(pc.invert(empty))
    declared: dict[str, object] = {"name": name, "type": _narrowest(name, filled)}
    if len(filled) == len(texts) and len(texts):
        declared["nullable"] = False
    return declared


def _narrowest(name: str, texts: pa.Array) -> str:
    if not len(texts):
        return "varchar"
    # Codes such as 00042 would lose their zeros as numbers.
    padded = pc.any(pc.match_substring_regex(texts, r"^-?0[0-9]")).as_py()
    scales = pc.max(pc.utf8_length(pc.replace_substring_regex(texts, r"^[^.]*\.?", ""))).as_py()
    for kind in (_NARROWEST[0], f"decimal(38,{scales})" if 0 < scales <= 18 else "", *_NARROWEST[1:]):
        if kind and not (padded and kind[:2] in ("bi", "de", "do")) and _fits(name, kind, texts):
            return kind
    return "varchar"


def _fits(name: str, kind: str, texts: pa.Array) -> bool:
    column = Column(name=name, type=ColumnType.parse(kind).declared)
    probe = Contract(dataset="probe", owner="-", mode="append", columns=(column,))
    return not check_column(column, texts, probe)[1]


def _key(table: pa.Table, columns: list[dict[str, object]]) -> list[str]:
    """Return the shortest run of leading columns that no two rows share; none if there is none."""
    full = [str(column["name"]) for column in columns if column.get("nullable") is False]
    for count in range(1, min(len(full), 4) + 1):
        if table.group_by(full[:count]).aggregate([]).num_rows == table.num_rows:
            return full[:count]
    return []


def _text(
    dataset: str, delimiter: str, tokens: list[str], columns: list[dict[str, object]], key: list[str]
) -> str:
    head: dict[str, object] = {"dataset": dataset, "owner": "TODO: who is asked about a bad file"}
    if delimiter != ",":
        head["delimiter"] = delimiter
    if tokens != [""]:
        head["null_tokens"] = tokens
    head["mode"] = "append"
    if key:
        head["primary_key"] = key
    text = yaml.safe_dump(head, sort_keys=False, allow_unicode=True)
    note = "# append: rows are added. snapshot: a file replaces what is there. upsert: by primary_key.\n"
    return note + text + yaml.safe_dump({"columns": columns}, sort_keys=False, allow_unicode=True)
