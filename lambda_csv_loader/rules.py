"""The rules of a column, applied to whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lambda_csv_loader.column_types import bound_of, outside
from lambda_csv_loader.contract import Column, Contract, whole


@dataclass(frozen=True)
class Broken:
    """A rule, and the indices of the values in a batch that break it."""

    rule: str
    message: str
    rows: Any


def check_column(column: Column, texts: pa.Array, contract: Contract) -> tuple[pa.Array | None, list[Broken]]:
    """Check one column of a batch.

    Args:
        column: its declaration.
        texts: the values as they are spelt; null where a null token stood unquoted.
        contract: for the null tokens.

    Returns:
        The typed values and no rules, or None and the rules that are broken.
    """
    values = texts if column.column_type.is_text else _whole_numbers(column, texts, contract)
    broken: list[Broken] = []
    if values is None:
        texts = _null_if_token(texts, contract)
        values, broken = _convert(column, texts)
    if not column.nullable and texts.null_count:
        broken.append(
            Broken("not_null", "empty, but the contract says `nullable: false`", _where(pc.is_null(texts)))
        )
    broken += [*_range(column, values), *_text_rules(column, texts)]
    return (None, broken) if broken else (values, [])


def _whole_numbers(column: Column, texts: pa.Array, contract: Contract) -> pa.Array | None:
    """Return the values where all are plainly spelt whole numbers, which is most of what there is."""
    kind = column.column_type
    if not kind.is_whole or any(character.isdigit() for token in contract.null_tokens for character in token):
        return None
    try:
        values = pc.cast(texts, kind.arrow)
    except pa.ArrowInvalid:
        return None
    return None if _may_be_hexadecimal(texts) else values


def _may_be_hexadecimal(texts: pa.Array) -> bool:
    """Look for the one spelling that the conversion takes and a contract does not, in all texts at once."""
    characters = texts.buffers()[2]
    if characters is None:
        return False
    content = characters.to_pybytes()
    return b"x" in content or b"X" in content


def _null_if_token(texts: pa.Array, contract: Contract) -> pa.Array:
    """Let a quoted null token be null where it cannot be text: some exporters quote everything."""
    tokens = pc.is_in(texts, pa.array(contract.null_tokens, pa.string()))
    if not pc.any(tokens).as_py():
        return texts
    return pc.if_else(tokens, pa.scalar(None, pa.string()), texts)


def _convert(column: Column, texts: pa.Array) -> tuple[pa.Array, list[Broken]]:
    """Convert, leaving null where a value cannot be; also return which those are and why."""
    kind = column.column_type
    message, broken = f"not of type {kind.declared}", []
    misspelt = pc.fill_null(pc.invert(pc.match_substring_regex(texts, kind.pattern)), False)
    if pc.any(misspelt).as_py():
        broken.append(Broken("type", message, _where(misspelt)))
        texts = pc.if_else(misspelt, pa.scalar(None, pa.string()), texts)
    beyond = f"{message}: beyond its range"
    try:
        values = pc.cast(texts, kind.arrow)
    except pa.ArrowInvalid:
        at = np.array(_unconvertible(texts, kind.arrow, 0), dtype=np.int64)
        broken.append(Broken("type", beyond, at))
        misfits = np.zeros(len(texts), dtype=bool)
        misfits[at] = True
        values = pc.cast(pc.if_else(pa.array(misfits), pa.scalar(None, pa.string()), texts), kind.arrow)
    strange = outside(values)
    if strange is not None:
        broken.append(Broken("type", beyond, _where(strange)))
        values = pc.if_else(pc.fill_null(strange, False), pa.scalar(None, values.type), values)
    return values, broken


def _unconvertible(texts: pa.Array, kind: pa.DataType, start: int) -> list[int]:
    """Return the indices of the values that do not convert, by halving."""
    try:
        pc.cast(texts, kind)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return [start]
        middle = len(texts) // 2
        return _unconvertible(texts[:middle], kind, start) + _unconvertible(
            texts[middle:], kind, start + middle
        )
    return []


def _range(column: Column, values: pa.Array) -> list[Broken]:
    if column.min is None and column.max is None:
        return []
    ends = pc.min_max(values)
    found = []
    for bound, end, beyond, word in (
        (column.min, ends["min"], pc.less, "below"),
        (column.max, ends["max"], pc.greater, "above"),
    ):
        if bound is None or not end.is_valid:
            continue
        limit = bound_of(bound, values.type)
        if pc.cast(beyond(end, limit), pa.bool_()).as_py():
            outside = _where(beyond(values, limit))
            found.append(
                Broken("range", f"{word} the {'minimum' if word == 'below' else 'maximum'} {bound}", outside)
            )
    return found


def _text_rules(column: Column, texts: pa.Array) -> list[Broken]:
    found = []
    length = column.column_type.max_length
    if length is not None:
        long = _where(pc.greater(pc.utf8_length(texts), length))
        if len(long):
            found.append(Broken("length", f"longer than {length} characters", long))
    if column.pattern is not None:
        wrong = _where(pc.invert(pc.match_substring_regex(texts, whole(column.pattern))))
        if len(wrong):
            found.append(Broken("pattern", f"does not match {column.pattern}", wrong))
    if column.values is not None:
        known = pc.is_in(texts, pa.array(column.values, pa.string()))
        wrong = _where(pc.and_(pc.invert(known), pc.is_valid(texts)))
        if len(wrong):
            found.append(Broken("values", f"not one of {', '.join(column.values[:10])}", wrong))
    return found


def _where(mask: pa.Array) -> Any:
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
