"""Compare a file's header with its contract: by name, exactly, never by position."""

from __future__ import annotations

import csv

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.verdict import BadFile

_DELIMITERS = ",;\t|:"


def match_header(line: str, contract: Contract) -> list[str | None]:
    """Return the contract's column for each column of the file; None for one to ignore.

    Raises:
        BadFile: the header differs in a way that the contract does not allow.
    """
    found = split(line, contract)
    names = [_normal(name) for name in found] if contract.header == "normalised" else found
    declared = {(_normal(name) if contract.header == "normalised" else name): name for name in contract.names}
    missing = [name for key, name in declared.items() if key not in names]
    if missing:
        raise _explain(line, found, missing, contract)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise BadFile("header", f"columns that the header names twice: {_listed(doubled)}", line=1)
    extra = [name for name in names if name not in declared]
    if extra and contract.extra_columns == "fail":
        raise BadFile("header", f"columns that the contract does not know: {_listed(extra)}", line=1)
    if contract.header == "exact" and [name for name in names if name in declared] != contract.names:
        raise BadFile("header", f"columns in another order: {_listed(found)}", line=1)
    return [declared.get(name) for name in names]


def split(line: str, contract: Contract) -> list[str]:
    """Split one line as the contract's dialect says.

    Raises:
        BadFile: it cannot be split: a quote is not closed, or a name is absurdly long.
    """
    reader = csv.reader(
        [line],
        delimiter=contract.delimiter,
        quotechar=contract.quote,
        escapechar=contract.escape,
        quoting=csv.QUOTE_MINIMAL if contract.quote else csv.QUOTE_NONE,
        strict=True,
    )
    try:
        return next(reader, [])
    except csv.Error as error:
        raise BadFile("header", f"the header cannot be split: {error}", line=1) from None


def _explain(line: str, found: list[str], missing: list[str], contract: Contract) -> BadFile:
    if len(missing) == len(contract.names):
        for other in _DELIMITERS.replace(contract.delimiter, ""):
            if set(line.split(other)) & set(contract.names):
                return BadFile(
                    "delimiter",
                    f"wrong delimiter: the header is separated by {other!r}, the contract says "
                    f"{contract.delimiter!r}",
                    line=1,
                )
        if len(found) == len(contract.names) and all(_is_data(value) for value in found):
            return BadFile("header", "no header: the first line holds values, not column names", line=1)
    close = [name for name in found if _normal(name) in {_normal(other) for other in missing}]
    hint = f" (found {_listed(close)}: case or spaces differ)" if close else ""
    return BadFile("header", f"missing columns: {_listed(missing)}{hint}", line=1)


def _is_data(value: str) -> bool:
    return not value or not (value[0].isalpha() or value[0] == "_")


def _normal(name: str) -> str:
    return name.strip().casefold()


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name[:60]) for name in names[:10])
