"""Every kind of bad (or odd but good) file, from the bucket through queue and handler to the warehouse.

The numbers are those of the checklist that the loader was designed against.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import zipfile
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_stack import FileStack, next_second

HEAD = "day_id,item,quantity\n"
GOOD = HEAD + "1,10,5\n1,11,\n"
CONTRACTS = {
    "notes": """
mode: append
columns:
  - {name: id, type: bigint, nullable: false}
  - {name: body, type: varchar}
""",
    "letters": """
mode: append
multiline: true
columns:
  - {name: id, type: bigint, nullable: false}
  - {name: body, type: varchar}
""",
    "measures": """
mode: append
columns:
  - {name: day, type: date, nullable: false}
  - {name: value, type: double}
""",
    "daily": """
mode: snapshot
partition_by: day_id
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint}
""",
    "daily_or_none": """
mode: snapshot
allow_empty: true
columns:
  - {name: day_id, type: bigint, nullable: false}
""",
    "wide": """
mode: append
encoding: utf-16
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint}
""",
    "loose": """
mode: append
header: normalised
extra_columns: ignore
null_tokens: ["", "NULL"]
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint}
""",
    "tolerant": """
mode: append
primary_key: [day_id]
reject_threshold: 3
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint}
""",
    "small": """
mode: append
max_megabytes: 1
columns:
  - {name: body, type: varchar}
""",
}


@dataclass(frozen=True)
class Case:
    """A file and what must become of it.

    `rows` is what the warehouse then holds of it; `reason` what the ledger says; `line` and `column`
    where the verdict points, `value` what it shows.
    """

    name: str
    body: bytes | str
    rows: int = 0
    reason: str | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None
    dataset: str = "stock"
    file: str = "f.csv"


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"day_id": [1]}), buffer)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("f.csv", GOOD)
    return buffer.getvalue()


def stock(rows: str) -> str:
    return HEAD + rows


def bad(
    name: str, rows: str, reason: str, line: int = 3, column: str | None = "item", value: str | None = None
) -> Case:
    """A file whose second data row breaks a rule."""
    if value is None and column is not None:
        value = next(csv.reader([rows]))[HEAD.strip().split(",").index(column)]
    return Case(name, stock("1,10,5\n" + rows), reason=reason, line=line, column=column, value=value)


ZSTD = pa.compress(GOOD.encode(), codec="zstd", asbytes=True)
LONG = "x" * 10_000_000

CASES = [
    Case("01-empty-file", b"", reason="empty_file: empty file: 0 bytes"),
    Case("02-header-only-of-a-feed-that-adds", HEAD, rows=0),
    Case(
        "02-header-only-of-a-snapshot",
        "day_id,item\n",
        reason="no_rows: a header and no rows: an empty snapshot would delete what is there",
        dataset="daily",
    ),
    Case("02-header-only-where-allowed", "day_id\n", dataset="daily_or_none"),
    Case("03-byte-order-mark", b"\xef\xbb\xbf" + GOOD.encode(), rows=2),
    Case(
        "04-utf-16",
        GOOD.encode("utf-16"),
        reason="encoding: the file is encoded in UTF-16LE, the contract says utf-8",
    ),
    Case(
        "04-utf-16-without-mark",
        GOOD.encode("utf-16-le"),
        reason="nul: a NUL byte at offset 1: not text, or text in UTF-16",
    ),
    Case("04-utf-16-where-declared", "day_id,item\n1,2\n".encode("utf-16"), rows=1, dataset="wide"),
    Case(
        "05-invalid-utf-8",
        b"id,body\n1,caf\xe9\n",
        reason="encoding: not utf-8 at byte 13: 0xe9",
        dataset="notes",
    ),
    Case("06-crlf", GOOD.replace("\n", "\r\n"), rows=2),
    Case("07-cr-only", GOOD.replace("\n", "\r"), rows=2),
    Case("08-no-final-line-end", GOOD.rstrip("\n"), rows=2),
    bad(
        "09-short-row",
        "1,11\n",
        "short_row: line 3: 1 bad rows; first: 2 values where the header has 3",
        column=None,
        value="1,11",
    ),
    bad(
        "10-long-row",
        "1,11,5,6\n",
        "long_row: line 3: 1 bad rows; first: 4 values where the header has 3",
        column=None,
        value="1,11,5,6",
    ),
    Case(
        "11-trailing-delimiter",
        stock("1,10,5,\n1,11,6,\n"),
        reason="long_row: line 2: 2 bad rows; first: 4 values where the header has 3",
        line=2,
    ),
    Case(
        "12-duplicate-header",
        "day_id,item,item,quantity\n1,10,10,5\n",
        reason="header: line 1: columns that the header names twice: 'item'",
        line=1,
    ),
    Case(
        "13-missing-column",
        "day_id,item\n1,10\n",
        reason="header: line 1: missing columns: 'quantity'",
        line=1,
    ),
    Case("14-reordered-columns", "quantity,item,day_id\n5,10,1\n", rows=1),
    Case(
        "15-extra-column",
        "day_id,item,quantity,colour\n1,10,5,red\n",
        reason="header: line 1: columns that the contract does not know: 'colour'",
        line=1,
    ),
    Case("15-extra-column-where-ignored", "day_id,colour,item\n1,red,2\n", rows=1, dataset="loose"),
    Case(
        "16-header-in-another-case",
        "Day_ID, item,quantity\n1,10,5\n",
        reason="header: line 1: missing columns: 'day_id', 'item' "
        "(found 'Day_ID', ' item': case or spaces differ)",
        line=1,
    ),
    Case("16-header-normalised-where-declared", " Day_ID,ITEM \n1,2\n", rows=1, dataset="loose"),
    Case(
        "17-no-header",
        "1,10,5\n1,11,6\n",
        reason="header: line 1: no header: the first line holds values, not column names",
        line=1,
    ),
    Case(
        "18-wrong-delimiter",
        GOOD.replace(",", ";"),
        reason="delimiter: line 1: wrong delimiter: the header is separated by ';', the contract says ','",
        line=1,
    ),
    bad(
        "19-text-in-number",
        "1,eleven,5\n",
        "type: line 3: 1 bad rows; first: column item: not of type bigint",
    ),
    bad("20-fraction", "1,10.5,5\n", "type: line 3: 1 bad rows; first: column item: not of type bigint"),
    bad(
        "21-fraction-of-zero",
        "1,10.0,5\n",
        "type: line 3: 1 bad rows; first: column item: not of type bigint",
    ),
    bad(
        "22-overflow",
        "1,11,2147483648\n",
        "type: line 3: 1 bad rows; first: column quantity: not of type integer: beyond its range",
        column="quantity",
    ),
    Case(
        "22-overflow-of-a-double",
        "day,value\n2003-01-02,1e400\n",
        reason="type: line 2: 1 bad rows; first: column value: not of type double: beyond its range",
        line=2,
        column="value",
        dataset="measures",
    ),
    Case(
        "22-year-0",
        "day,value\n0000-01-01,1\n",
        reason="type: line 2: 1 bad rows; first: column day: not of type date: beyond its range",
        line=2,
        column="day",
        dataset="measures",
    ),
    bad(
        "23-thousands-separator",
        '1,"1,000",5\n',
        "type: line 3: 1 bad rows; first: column item: not of type bigint",
    ),
    bad(
        "24-negative-quantity",
        "1,11,-5\n",
        "range: line 3: 1 bad rows; first: column quantity: below the minimum 0",
        column="quantity",
    ),
    bad(
        "25-null-as-text",
        "1,11,NULL\n",
        "type: line 3: 1 bad rows; first: column quantity: not of type integer",
        column="quantity",
    ),
    Case("25-null-token-where-declared", "day_id,item\n1,NULL\n", rows=1, dataset="loose"),
    Case("26-empty-nullable", GOOD, rows=2),
    bad(
        "27-empty-key",
        "1,,5\n",
        "not_null: line 3: 1 bad rows; first: column item: empty, but the contract says `nullable: false`",
    ),
    bad("28-hexadecimal", "1,0x10,5\n", "type: line 3: 1 bad rows; first: column item: not of type bigint"),
    bad("28-plus-sign", "1,+10,5\n", "type: line 3: 1 bad rows; first: column item: not of type bigint"),
    bad("28-unicode-digits", "1,١٢,5\n", "type: line 3: 1 bad rows; first: column item: not of type bigint"),
    bad("28-leading-space", "1, 12,5\n", "type: line 3: 1 bad rows; first: column item: not of type bigint"),
    Case(
        "29-unclosed-quote",
        stock('1,10,5\n1,"11,6\n1,12,7\n'),
        reason="unclosed_quote: line 3: a quote is opened and not closed on its line",
        line=3,
    ),
    Case(
        "29-unclosed-quote-in-text",
        'id,body\n1,"a\n2,b\n3,c\n',
        reason="unclosed_quote: line 2: a quote is opened and not closed on its line; "
        "`multiline: true` in the contract allows values of several lines",
        line=2,
        dataset="notes",
    ),
    Case(
        "29-unclosed-quote-in-text-of-several-lines",
        'id,body\n1,"a\n2,b\n3,c\n',
        reason="unclosed_quote: line 2: a quote is opened and never closed",
        line=2,
        dataset="letters",
    ),
    Case(
        "29-unclosed-quote-in-a-large-file",
        'id,body\n1,"a\n' + "2,b\n" * 600_000,
        reason="long_record: line 2: a record is longer than 1048576 bytes, or a quote is never closed",
        line=2,
        dataset="letters",
    ),
    Case(
        "29-text-after-a-closed-quote",
        'id,body\n1,a\n2,"b"c\n',
        reason="stray_quote: line 3: text follows the quote that closes a value",
        line=3,
        dataset="notes",
    ),
    Case("30-newline-in-quoted-text", 'id,body\n1,"two\nlines"\n2,x\n', rows=2, dataset="letters"),
    Case("31-quote-as-a-character", 'id,body\n1,5" pipe\n', rows=1, dataset="notes"),
    Case("31-doubled-quotes", 'id,body\n1,"say ""hi"""\n', rows=1, dataset="notes"),
    Case(
        "32-nul-byte",
        b"id,body\n1,a\0b\n",
        reason="nul: a NUL byte at offset 11: not text, or text in UTF-16",
        dataset="notes",
    ),
    Case("33-gzip-named-csv", gzip.compress(GOOD.encode()), rows=2),
    Case("34-gz-that-is-none", GOOD, reason="compression: named .gz but not gzip", file="f.csv.gz"),
    Case(
        "35-truncated-gzip",
        gzip.compress(GOOD.encode())[:-9],
        reason="truncated: the gzip file ends before its end mark",
    ),
    Case(
        "35-truncated-zstd",
        ZSTD[:-5],
        reason="truncated: the zstd file is broken: Truncated compressed stream",
    ),
    Case("36-gzip-of-two-members", gzip.compress(HEAD.encode()) + gzip.compress(b"1,10,5\n1,11,6\n"), rows=2),
    Case(
        "37-gzip-bomb",
        gzip.compress(HEAD.encode() + b"1,10,5\n" * 2_000_000),
        reason="compression_ratio: the gzip file unpacks to more than 200 times its size",
    ),
    Case("38-zstd", ZSTD, rows=2, file="f.csv.zst"),
    Case("39-zip", archive(), reason="foreign_format: not CSV: this is a ZIP archive or an Excel workbook"),
    Case("39-parquet", parquet(), reason="foreign_format: not CSV: this is a Parquet file"),
    Case("39-bzip2", bz2.compress(GOOD.encode()), reason="foreign_format: not CSV: this is a bzip2 file"),
    Case("39-json", '[{"day_id": 1}]', reason="foreign_format: not CSV: this looks like JSON"),
    Case(
        "39-html-error-page",
        "<!doctype html><h1>502</h1>",
        reason="foreign_format: not CSV: this looks like HTML or XML",
    ),
    bad(
        "40-total-row",
        "Total,,5\n",
        "type: line 3: 1 bad rows; first: column day_id: not of type bigint",
        column="day_id",
    ),
    bad(
        "41-duplicate-key",
        "1,10,7\n",
        "unique: line 3: 1 bad rows; first: the key (day_id, item) = 1, 10 is in the file already",
        column=None,
        value="1, 10",
    ),
    Case(
        "50-larger-than-allowed",
        "body\n" + "abc\n" * 300_000,
        reason="too_large: the file is larger than 1 MB",
        dataset="small",
    ),
    Case(
        "51-field-of-10-mb",
        f"id,body\n1,a\n2,{LONG}\n",
        reason="long_record: line 3: a record is longer than 1048576 bytes, or a quote is never closed",
        line=3,
        dataset="notes",
    ),
    Case(
        "56-no-contract",
        GOOD,
        reason="no_contract: no contract for dataset 'unheard_of'",
        dataset="unheard_of",
    ),
    Case("57-blank-lines", stock("\n1,10,5\n\n\r\n1,11,6\n"), rows=2),
]


@pytest.fixture(scope="module", autouse=True)
def contracts(stack: FileStack) -> None:
    for dataset, text in CONTRACTS.items():
        stack.contract(dataset, text)


def rows_of(stack: FileStack, dataset: str, key: str) -> int:
    return int(
        stack.query(
            f"select count(*) from raw_files.{dataset} inner join ops.csv_files on file_id = _file_id "
            f"where key = '{key}'"
        )[0][0]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_becomes_of_a_file(stack: FileStack, case: Case) -> None:
    key = stack.put(f"landing/{case.dataset}/{case.name}/{case.file}", case.body)
    stack.handle()
    assert stack.depths().waiting == 0, "the message was not acknowledged"
    expected = "quarantined" if case.reason else "loaded"
    assert stack.ledger(key) == [(expected, case.reason, case.rows)]
    if case.reason is None:
        assert rows_of(stack, case.dataset, key) == case.rows
        return
    verdict = stack.verdict(key)
    assert verdict["rule"] + ": " + verdict["message"] == case.reason
    first = verdict["examples"][0]
    assert (first["line"], first["column"]) == (case.line, case.column)
    if case.value is not None:
        assert (first["value"] or "") == case.value
    body = case.body.encode() if isinstance(case.body, str) else case.body
    assert stack.object(verdict["file"]["copy"]).read() == body
    assert verdict["file"]["copy"].startswith(f"quarantine/{case.dataset}/{verdict['file']['file_id']}/")


def test_42_same_content_under_another_key_is_skipped_and_logged(stack: FileStack) -> None:
    first = stack.put("landing/stock/42/a.csv", stock("42,1,1\n"))
    stack.handle()
    second = stack.put("landing/stock/42/b.csv", stock("42,1,1\n"))
    stack.handle()
    assert stack.ledger(first) == [("loaded", None, 1)]
    assert stack.ledger(second) == [("skipped", f"same content as {first}", 0)]
    assert stack.query("select count(*) from raw_files.stock where day_id = 42") == [(1,)]


def test_43_same_event_twice_loads_once(stack: FileStack) -> None:
    key = stack.put("landing/stock/43.csv", stock("43,1,1\n"))
    message = stack.sqs.receive_message(QueueUrl=stack.store.queue_url)["Messages"][0]
    for _ in range(3):
        stack.sqs.send_message(QueueUrl=stack.store.queue_url, MessageBody=message["Body"])
    stack.handle()
    stack.sqs.delete_message(QueueUrl=stack.store.queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert stack.ledger(key) == [("loaded", None, 1)]
    assert stack.query("select count(*) from raw_files.stock where day_id = 43") == [(1,)]


def test_44_overwritten_key_replaces_its_rows_and_keeps_the_history(stack: FileStack) -> None:
    key = stack.put("landing/stock/44.csv", stock("44,1,1\n44,2,1\n"))
    stack.handle()
    next_second()
    stack.put(key, stock("44,1,9\n"))
    stack.handle()
    assert [row[0] for row in stack.ledger(key)] == ["superseded", "loaded"]
    assert stack.query("select item, quantity from raw_files.stock where day_id = 44") == [(1, 9)]
    assert stack.query(f"select status, rows_loaded from ops.csv_file_history where key = '{key}'") == [
        ("loaded", 2)
    ]


def test_45_late_event_of_an_older_version_changes_nothing(stack: FileStack) -> None:
    key = stack.put("landing/stock/45.csv", stock("45,1,1\n"))
    older = stack.sqs.receive_message(QueueUrl=stack.store.queue_url)["Messages"][0]
    stack.put(key, stock("45,1,2\n"))
    stack.handle()
    stack.sqs.send_message(QueueUrl=stack.store.queue_url, MessageBody=older["Body"])
    stack.sqs.delete_message(QueueUrl=stack.store.queue_url, ReceiptHandle=older["ReceiptHandle"])
    stack.handle()
    assert stack.query("select quantity from raw_files.stock where day_id = 45") == [(2,)]
    assert stack.ledger(key) == [("loaded", None, 1)]


def test_46_deleted_before_it_was_read(stack: FileStack) -> None:
    key = stack.put("landing/stock/46.csv", stock("46,1,1\n"))
    stack.s3.delete_object(Bucket=stack.store.bucket, Key=key)
    stack.handle()
    assert stack.depths().waiting == 0
    assert stack.ledger(key) == [("missing", "deleted before it was read", 0)]


@pytest.mark.parametrize(
    "name", ["a b.csv", "a+b.csv", "50%25.csv", "día-日本-🚚.csv", "it's.csv", "a&b=c.csv"], ids=ascii
)
def test_47_key_is_decoded_exactly_once(stack: FileStack, name: str) -> None:
    number = sum(name.encode()) + 47_000
    key = stack.put(f"landing/stock/47/{name}", stock(f"{number},1,1\n"))
    stack.handle()
    assert stack.query(
        "select key from ops.csv_files inner join raw_files.stock on file_id = _file_id "
        f"where day_id = {number}"
    ) == [(key,)]


def test_48_test_event_is_acknowledged(stack: FileStack) -> None:
    stack.sqs.send_message(
        QueueUrl=stack.store.queue_url,
        MessageBody=json.dumps(
            {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": stack.store.bucket}
        ),
    )
    assert stack.handle() == 1
    assert stack.depths().waiting == 0


def test_49_folder_marker_is_ignored(stack: FileStack) -> None:
    key = stack.put("landing/stock/folder/", b"")
    stack.handle()
    assert stack.depths().waiting == 0
    assert stack.ledger(key) == []


def test_rows_are_rejected_within_the_threshold_and_kept_with_their_text(stack: FileStack) -> None:
    key = stack.put("landing/tolerant/a.csv", "day_id,item\n1,1\n\n2,x\n3\n1,4\n5,5\n")
    stack.handle()
    assert stack.ledger(key) == [("loaded", None, 2)]
    assert stack.query("select day_id, item, _file_row from raw_files.tolerant order by 1") == [
        (1, 1, 1),
        (5, 5, 5),
    ]
    assert stack.query(
        "select line, file_row, column_name, rule, raw_line from ops.csv_rejects order by line"
    ) == [
        (4, 2, "item", "type", "2,x"),
        (5, 3, None, "short_row", "3"),
        (6, 4, None, "unique", "1,4"),
    ]


def test_rejects_above_the_threshold_fail_the_file(stack: FileStack) -> None:
    key = stack.put(
        "landing/tolerant/b.csv", "day_id,item\n" + "".join(f"{n},x\n" for n in range(10, 14)) + "20,1\n"
    )
    stack.handle()
    assert stack.ledger(key) == [
        ("quarantined", "type: line 2: 4 bad rows, 3 allowed; first: column item: not of type bigint", 0)
    ]
    assert stack.verdict(key)["counts"] == {"item.type": 4}
    assert stack.query("select count(*) from raw_files.tolerant where day_id >= 10") == [(0,)]


def test_snapshot_file_with_two_days_is_refused(stack: FileStack) -> None:
    key = stack.put("landing/daily/two.csv", "day_id,item\n7,1\n8,1\n")
    stack.handle()
    reason = "one_partition: a snapshot file holds one value of day_id, this one has 7, 8 ..."
    assert stack.ledger(key) == [("quarantined", reason, 0)]


def test_blank_lines_are_counted(stack: FileStack) -> None:
    key = stack.put("landing/stock/57-counted.csv", stock("\n57,10,5\n\n\n"))
    stack.handle()
    assert stack.query(f"select rows_read, blank_lines from ops.csv_files where key = '{key}'") == [(1, 3)]
