"""What Python's csv module wrote in a declared dialect is what the warehouse holds, cell by cell."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from dataclasses import dataclass

import pyarrow as pa
import yaml
from file_stack import FileStack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.handler import loader
from lambda_csv_loader.load import Loader
from lambda_csv_loader.validate import validate

Row = tuple[int, str | None, str, int | None]
NULL = "\\N"
# Everything a text may hold, with what breaks CSV readers made likely; not NUL, which is no text.
nasty = st.text(
    st.one_of(
        st.sampled_from(list("\"'\n\r,;|\t\\ #x")),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=12,
)
rows = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.one_of(st.none(), nasty.filter(lambda text: text != NULL)),
        nasty.filter(lambda text: text != NULL),
        st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
    ),
    max_size=8,
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    quote: str
    line_end: str
    everything_quoted: bool

    def write(self, table: list[Row]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(
            text,
            delimiter=self.delimiter,
            quotechar=self.quote,
            lineterminator=self.line_end,
            # Older Pythons leave a lone CR unquoted, which no reader, their own included, reads back.
            quoting=csv.QUOTE_ALL if self.everything_quoted or _has_lone_cr(table) else csv.QUOTE_MINIMAL,
        )
        writer.writerow(["id", "note", "title", "amount"])
        # A null is the token unquoted; the csv module cannot leave one value out of QUOTE_ALL, so a
        # placeholder is written and replaced.
        for row in table:
            writer.writerow(["\ue000" if cell is None else cell for cell in row])
        quoted = f"{self.quote}\ue000{self.quote}"
        return text.getvalue().replace(quoted, NULL).replace("\ue000", NULL).encode()

    def contract(self, dataset: str) -> Contract:
        return Contract.model_validate(
            {
                "dataset": dataset,
                "owner": "tests",
                "mode": "append",
                "delimiter": self.delimiter,
                "quote": self.quote,
                "multiline": True,
                "null_tokens": [NULL],
                "columns": [
                    {"name": "id", "type": "bigint", "nullable": False},
                    {"name": "note", "type": "varchar"},
                    {"name": "title", "type": "varchar", "nullable": False},
                    {"name": "amount", "type": "integer"},
                ],
            }
        )


def _has_lone_cr(table: list[Row]) -> bool:
    return any("\r" in cell for row in table for cell in row if isinstance(cell, str))


dialects = st.builds(
    Dialect, st.sampled_from(",;\t|"), st.sampled_from("\"'"), st.sampled_from(["\n", "\r\n"]), st.booleans()
)
usable = rows.filter(
    lambda table: not any("\ue000" in cell for row in table for cell in row if isinstance(cell, str))
)


@dataclass
class Bytes:
    name: str
    body: bytes

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.body)


@settings(max_examples=150, deadline=None)
@given(table=usable, dialect=dialects)
def test_staged_rows_equal_what_was_written(table: list[Row], dialect: Dialect) -> None:
    report = validate(Bytes("f.csv", dialect.write(table)), dialect.contract("notes"), "id")
    assert report.verdict is None, report.verdict
    assert report.staged is not None
    staged = report.staged.table
    assert staged is not None
    names = ["id", "note", "title", "amount"]
    assert [tuple(row[name] for name in names) for row in staged.to_pylist()] == table
    assert staged["_file_row"].to_pylist() == list(range(1, len(table) + 1))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=usable.filter(bool), dialect=dialects, staged=st.sampled_from(["in memory", "in a file"]))
def test_warehouse_equals_what_was_written(
    stack: FileStack, table: list[Row], dialect: Dialect, staged: str
) -> None:
    dataset = f"notes_{next(_numbers)}"
    declared = dialect.contract(dataset).model_dump(
        mode="json", exclude={"dataset", "owner"}, exclude_none=True
    )
    stack.contract(dataset, yaml.safe_dump(declared))
    key = stack.put(f"landing/{dataset}/f.csv", dialect.write(table))
    if staged == "in memory":
        stack.handle()
    else:
        shared = loader()
        Loader(shared.bucket, shared.writer, shared.contracts, in_memory=0).load(stack.ref(key))
    assert [status for status, *_ in stack.ledger(key)] == ["loaded"]
    found = stack.query(f"select id, note, title, amount from raw_files.{dataset} order by _file_row")
    assert found == table


@settings(max_examples=100, deadline=None)
@given(spelt=st.text(st.sampled_from("0123456789abcdefxX+-. _eE\u0661\u00b2"), max_size=8))
def test_a_number_is_taken_only_when_it_is_plainly_spelt(spelt: str) -> None:
    declared = {"name": "n", "type": "bigint"}, {"name": "m", "type": "bigint"}
    contract = Contract.model_validate({"dataset": "d", "owner": "o", "mode": "append", "columns": declared})
    report = validate(Bytes("f.csv", f"n,m\n{spelt},1\n".encode()), contract, "id")
    plain = spelt == "" or (spelt.removeprefix("-").isdecimal() and spelt.isascii())
    assert (report.verdict is None) is plain
    if plain and report.staged is not None and report.staged.table is not None:
        assert report.staged.table["n"].to_pylist() == [int(spelt) if spelt else None]


TYPED = {
    "id": "bigint",
    "price": "decimal(20,4)",
    "day": "date",
    "at": "timestamp",
    "flag": "boolean",
    "note": "varchar",
}
typed_rows = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.decimals(-(10**15), 10**15, places=4),
        st.dates(),
        st.datetimes(),
        st.booleans(),
        st.text(st.sampled_from(list("\"'\n,;\\ aé🚚")), max_size=8),
    ),
    min_size=1,
    max_size=30,
)


def _packed(body: bytes, compression: str) -> bytes:
    if compression == "gzip":
        return gzip.compress(body)
    return pa.compress(body, codec="zstd", asbytes=True) if compression == "zstd" else body


@settings(max_examples=120, deadline=None)
@given(
    table=typed_rows,
    bad=st.sets(st.integers(0, 29), max_size=3),
    escaped=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    compression=st.sampled_from(["none", "gzip", "zstd"]),
    block=st.sampled_from([512, 1 << 20]),
)
def test_typed_rows_in_any_encoding_come_through_and_bad_ones_are_named(
    table: list[tuple[object, ...]],
    bad: set[int],
    escaped: bool,
    encoding: str,
    compression: str,
    block: int,
) -> None:
    bad = {number for number in bad if number < len(table)}
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        doublequote=not escaped,
        escapechar="\\" if escaped else None,
        quoting=csv.QUOTE_NONNUMERIC,
        lineterminator="\n",
    )
    writer.writerow(TYPED)
    for number, (key, *rest) in enumerate(table):
        spelt = [str(cell).lower() if isinstance(cell, bool) else str(cell) for cell in rest]
        writer.writerow(["no number" if number in bad else key, *spelt])
    columns = [{"name": name, "type": kind} for name, kind in TYPED.items()]
    contract = Contract.model_validate(
        {
            "dataset": "typed",
            "owner": "tests",
            "mode": "append",
            "multiline": True,
            "escape": "\\" if escaped else None,
            "encoding": "utf-8" if encoding == "utf-8-sig" else encoding,
            "reject_threshold": 3,
            "columns": columns,
        }
    )
    body = _packed(text.getvalue().encode(encoding), compression)
    report = validate(Bytes("f.csv", body), contract, "id", block=block)
    assert report.verdict is None, report.verdict
    assert report.staged is not None and report.staged.table is not None
    found = [tuple(row[name] for name in TYPED) for row in report.staged.table.to_pylist()]
    good = [number for number in range(len(table)) if number not in bad]
    assert found == [table[number] for number in good]
    assert report.staged.table["_file_row"].to_pylist() == [number + 1 for number in good]
    rejects = [(one.row, one.column, "no number" in one.raw_line) for one in report.staged.rejects]
    assert rejects == [(number + 1, "id", True) for number in sorted(bad)]
