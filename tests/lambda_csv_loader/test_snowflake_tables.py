"""Which tables on Snowflake the loader takes, and how it writes names and values."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from file_stack import FileStack

from lambda_csv_loader.load import Loader
from lambda_csv_loader.writer import TableMismatch

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def stack(snowflake_stack: FileStack) -> FileStack:
    """The emulated Snowflake, with the schema that a first file made."""
    snowflake_stack.put("landing/stock/first.csv", "day_id,item,quantity\n1,1,1\n")
    snowflake_stack.drain()
    return snowflake_stack


@pytest.fixture(scope="module")
def loader(stack: FileStack) -> Iterator[Loader]:
    made = stack.loader()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("table", "column", "complaint"),
    [
        ("item varchar", "type: bigint", "item is varchar, declared bigint"),
        ("item number(10,2)", "type: 'decimal(12,2)'", r"item is number\(10,2\), declared decimal\(12,2\)"),
        ("item varchar(3)", "type: varchar(5)", r"item is varchar\(3\), declared varchar\(5\)"),
        ("item varchar(3)", "type: varchar", r"item is varchar\(3\), declared varchar"),
        ("item timestamp_ntz", "type: timestamptz", "item is timestamp_ntz, declared timestamptz"),
        ("item number(38,0), _file_id number", "type: bigint", "_file_id is number"),
        ("item number(38,0) not null", "type: bigint", "refuses rows that the contract allows: ITEM"),
    ],
    ids=["kind", "precision", "length", "no-length", "zone", "own-column", "not-null"],
)
def test_table_that_does_not_fit_is_told(
    stack: FileStack, loader: Loader, request: pytest.FixtureRequest, table: str, column: str, complaint: str
) -> None:
    dataset = "unfit_" + request.node.callspec.id.replace("-", "_")
    stack.query(f"create table raw_files.{dataset} ({table})")
    stack.contract(dataset, f"mode: append\ncolumns:\n  - {{name: item, {column}}}\n")
    key = stack.put(f"landing/{dataset}/f.csv", "item\n\n")
    with pytest.raises(TableMismatch, match=complaint):
        loader.load(stack.ref(key))
    stack.lose_events()


def test_longer_text_in_the_table_is_fine(stack: FileStack, loader: Loader) -> None:
    stack.query("create table raw_files.longer (item varchar(9))")
    stack.contract("longer", "mode: append\ncolumns:\n  - {name: item, type: varchar(5)}\n")
    assert loader.load(stack.ref(stack.put("landing/longer/f.csv", "item\nabc\n"))).status == "loaded"
    stack.lose_events()


def test_names_are_quoted_and_values_bound(stack: FileStack, loader: Loader) -> None:
    columns = "columns:\n  - {name: 'a \"b', type: varchar, nullable: false}\n"
    stack.contract("odd", "mode: upsert\nprimary_key: ['a \"b']\n" + columns)
    key = stack.put("landing/odd/it's \\' -- ; .csv", '"a ""b"\n"\\\'; drop table x"\n')
    assert loader.load(stack.ref(key)).status == "loaded"
    assert stack.query('select "A ""B" from raw_files.odd') == [("\\'; drop table x",)]
    assert loader.writer.ledger("odd", "landing/odd/it's \\'")[0].key == key
    assert loader.writer.ledger("odd", "landing/odd/%") == []
    stack.lose_events()
