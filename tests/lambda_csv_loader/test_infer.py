"""A contract is proposed from a sample, and the sample fulfils it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lambda_csv_loader.contract import Contract, load_contract
from lambda_csv_loader.infer import NotCsv, dataset_name, infer
from lambda_csv_loader.validate import validate


class Sample:
    """A file as the validator reads it."""

    def __init__(self, path: Path) -> None:
        self.name, self._body = path.name, path.read_bytes()

    def open(self) -> io.BytesIO:
        return io.BytesIO(self._body)


def proposed(folder: Path, name: str, text: str) -> Contract:
    """Write a sample, propose a contract, save it, read it, and load the sample by it."""
    sample = folder / name
    sample.write_text(text)
    dataset = dataset_name(sample)
    saved = folder / f"{dataset}.yaml"
    saved.write_text(infer(sample))
    contract = load_contract(saved)
    report = validate(Sample(sample), contract, "id")
    assert report.verdict is None, report.verdict
    return contract


def test_types_nulls_and_key_are_found(tmp_path: Path) -> None:
    text = (
        "id;code;price;day;at;flag;ratio;note\n"
        '1;007;1.50;2003-01-02;2003-01-02 10:00:00;true;1e5;"a;b"\n'
        "2;010;20;NULL;2003-01-02T11:00:00;false;2;NULL\n"
    )
    contract = proposed(tmp_path, "Weekly-Sales_2003-01-02.csv", text)
    assert (contract.dataset, contract.delimiter, contract.primary_key) == ("weekly_sales", ";", ("id",))
    assert contract.null_tokens == ("", "NULL")
    assert {column.name: column.type for column in contract.columns} == {
        "id": "bigint",
        "code": "varchar",
        "price": "decimal(38,2)",
        "day": "date",
        "at": "timestamp",
        "flag": "boolean",
        "ratio": "double",
        "note": "varchar",
    }
    assert [column.name for column in contract.columns if column.nullable] == ["day", "note"]


def test_key_of_several_columns(tmp_path: Path) -> None:
    text = "day,item,quantity\n1,1,5\n1,2,5\n2,1,5\n"
    assert proposed(tmp_path, "inventory.csv", text).primary_key == ("day", "item")


def test_rows_that_repeat_have_no_key(tmp_path: Path) -> None:
    assert proposed(tmp_path, "log.csv", "a,b\n1,1\n1,1\n").primary_key == ()


def test_values_of_several_lines_are_declared(tmp_path: Path) -> None:
    assert proposed(tmp_path, "notes.csv", 'id,body\n1,"two\nlines"\n').multiline
    assert not proposed(tmp_path, "plain.csv", "id,body\n1,line\n").multiline


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a,b\n1\n",
        "a,b\n1,é\n".encode("latin-1"),
        b"a,a\n1,2\n",
        b"a,A\n1,2\n",
        b'a,"b\nc"\n1,2\n',
        b"a,\n1,2\n",
        b"a,_file_id\n1,2\n",
        b"x" * 200_000 + b",b\n1,2\n",
        b'a,"b\n1,2\n',
    ],
    ids=[
        "empty",
        "ragged",
        "latin-1",
        "name-twice",
        "names-that-differ-in-case",
        "line-end-in-a-name",
        "no-name",
        "name-of-the-loader",
        "endless-name",
        "open-quote-in-the-header",
    ],
)
def test_what_is_no_csv_is_refused(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(body)
    with pytest.raises(NotCsv):
        infer(path)
