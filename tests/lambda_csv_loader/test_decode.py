"""From stored bytes to text: what is recognised by its first bytes, where faults are, how much is read."""

from __future__ import annotations

import codecs
import io
import lzma

import pytest

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.validate import Report, validate


class Counted(io.BytesIO):
    """A file that counts what was read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


class Bytes:
    """A source with one name."""

    name = "f.csv"

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.opened: list[Counted] = []

    def open(self) -> Counted:
        self.opened.append(Counted(self.body))
        return self.opened[-1]


def contract(*names: str, **more: object) -> Contract:
    columns = [{"name": name, "type": "varchar"} for name in names]
    return Contract.model_validate(
        {"dataset": "d", "owner": "o", "mode": "append", "columns": columns, **more}
    )


def look(body: bytes, rules: Contract) -> Report:
    return validate(Bytes(body), rules, "id")


@pytest.mark.parametrize("first", ["ORCID", "PAR1", "BZhao"])
def test_a_column_may_be_called_like_a_format(first: str) -> None:
    report = look(f"{first},n\n1,2\n".encode(), contract(first, "n"))
    assert report.verdict is None, report.verdict


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lzma.compress(b"a,n\n1,2\n"), "not CSV: this is an xz file"),
        (b"%PDF-1.7\n1 0 obj\n", "not CSV: this is a PDF document"),
        (b"ORC\x08\x03\x10\x00", "not CSV: this is an ORC file"),
        (b" " * 100 + b'{"a": 1}', "not CSV: this looks like JSON"),
        (b"\n" * 70 + b"<html>", "not CSV: this looks like HTML or XML"),
    ],
    ids=["xz", "pdf", "orc", "json-after-spaces", "html-after-lines"],
)
def test_foreign_formats_are_named(body: bytes, message: str) -> None:
    verdict = look(body, contract("a", "n")).verdict
    assert verdict is not None
    assert (verdict.rule, verdict.message) == ("foreign_format", message)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "byte-order-mark"])
@pytest.mark.parametrize(
    ("fault", "said"), [(b"\xe9", "byte {at}: 0xe9"), (b"\0", "offset {at}: ")], ids=["encoding", "nul"]
)
def test_faults_are_found_at_their_byte_of_the_file(mark: bytes, fault: bytes, said: str) -> None:
    body = mark + b"a,n\n1," + fault + b"\n"
    verdict = look(body, contract("a", "n")).verdict
    assert verdict is not None
    assert said.format(at=body.index(fault)) in verdict.message


def test_what_is_too_large_by_its_size_is_not_read() -> None:
    source = Bytes(b"a\n" + b"xxx\n" * 1_000_000)
    rules = contract("a", max_megabytes=1)
    report = validate(source, rules, "id", size=len(source.body))
    assert report.verdict is not None
    assert (report.verdict.rule, report.sha256) == ("too_large", "")
    assert sum(each.taken for each in source.opened) <= 1024


def test_what_turns_out_too_large_is_not_read_to_its_end() -> None:
    source = Bytes(b"a\n" + b"xxx\n" * 1_000_000)
    report = validate(source, contract("a", max_megabytes=1), "id")
    assert report.verdict is not None
    assert report.verdict.rule == "too_large"
    assert sum(each.taken for each in source.opened) <= 3 << 20


@pytest.mark.parametrize("name", ["x" * 200_000, '"' + "x" * 200_000 + '"'], ids=["plain", "quoted"])
def test_a_header_of_one_endless_name_is_refused(name: str) -> None:
    verdict = look(f"{name},n\n1,2\n".encode(), contract("a", "n")).verdict
    assert verdict is not None
    assert verdict.message == "line 1: the header cannot be split: field larger than field limit (131072)"
