"""Contracts: what is wrong with one is said with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambda_csv_loader.contract import Contracts, NoContract, load_contract
from lambda_csv_loader.contract_file import BadContract
from lambda_csv_loader.settings import DATASETS

GOOD = """dataset: stock
owner: operations
mode: snapshot
partition_by: day
primary_key: [day, item]
columns:
  - name: day
    type: date
    nullable: false
    min: "1998-01-01"
  - name: item
    type: bigint
    nullable: false
  - name: price
    type: decimal(7,2)
    max: 99999.99
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "stock.yaml"
    path.write_text(text)
    return path


def test_a_good_contract_is_read(tmp_path: Path) -> None:
    contract = load_contract(written(tmp_path, GOOD))
    assert contract.names == ["day", "item", "price"]
    assert (contract.delimiter, contract.null_tokens, contract.reject_threshold) == (",", ("",), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(("owner: operations\n", ""), "stock.yaml:1: owner: Field required", id="missing-key"),
        pytest.param(
            ("mode: snapshot", "mode: replace"),
            "stock.yaml:3: mode: Input should be 'snapshot', 'append' or 'upsert'",
            id="unknown-mode",
        ),
        pytest.param(
            ("owner:", "onwer:"),
            "stock.yaml:1: owner: Field required\nstock.yaml:2: onwer: Extra inputs are not permitted",
            id="misspelt-key",
        ),
        pytest.param(
            ("type: bigint", "type: bigin"),
            "stock.yaml:12: columns.1.type: unknown type 'bigin'; known: integer, bigint, double, boolean, "
            "date, timestamp, timestamptz, decimal(p,s), varchar, varchar(n)",
            id="unknown-type",
        ),
        pytest.param(
            ("decimal(7,2)", "decimal(2,7)"),
            "stock.yaml:15: columns.2.type: decimal(2,7): the precision must be 1 to 38 and the scale at "
            "most the precision",
            id="impossible-decimal",
        ),
        pytest.param(
            ("[day, item]", "[day, itme]"),
            "stock.yaml:5: primary_key: 'itme' is a key or partition but not a column",
            id="key-is-no-column",
        ),
        pytest.param(
            ("    nullable: false\n  - name: price", "  - name: price"),
            "stock.yaml:5: primary_key: 'item' is a key or partition, so it needs `nullable: false`",
            id="nullable-key",
        ),
        pytest.param(
            ("mode: snapshot", "mode: append"),
            "stock.yaml:4: partition_by: `partition_by` belongs to mode snapshot, not append",
            id="partition-without-snapshot",
        ),
        pytest.param(
            ("name: price", "name: item"),
            "stock.yaml:14: columns.2.name: columns declared twice: item",
            id="twice",
        ),
        pytest.param(
            ("name: price", "name: Item"),
            "stock.yaml:14: columns.2.name: columns declared twice: Item, item",
            id="names-that-differ-in-case",
        ),
        pytest.param(
            ("name: price", "name: _File_ID"),
            "stock.yaml:14: columns.2.name: '_File_ID' is a column that the loader adds itself",
            id="column-of-the-loader",
        ),
        pytest.param(
            ("name: price", 'name: "pri\\nce"'),
            "stock.yaml:14: columns.2.name: a column's name holds a line end",
            id="line-end-in-a-name",
        ),
        pytest.param(
            ("max: 99999.99", "pattern: '('"),
            "stock.yaml:16: columns.2.pattern: Invalid regular expression: missing ): ",
            id="no-pattern",
        ),
        pytest.param(
            ("max: 99999.99", "pattern: '(?=a)'"),
            "stock.yaml:16: columns.2.pattern: Invalid regular expression: invalid perl operator: (?=",
            id="pattern-of-python-only",
        ),
        pytest.param(
            ("max: 99999.99", "max: 1e400"),
            "stock.yaml:16: columns.2.max: ",
            id="bound-beyond-the-type",
        ),
        pytest.param(
            ("type: decimal(7,2)\n    max: 99999.99", "type: double\n    max: 1e400"),
            "stock.yaml:16: columns.2.max: 1e400 is not of type double",
            id="infinite-bound",
        ),
        pytest.param(
            ("type: decimal(7,2)\n    max: 99999.99", "type: bigint\n    max: 1.5"),
            "stock.yaml:16: columns.2.max: 1.5 is not of type int64",
            id="fractional-bound-of-a-whole-number",
        ),
        pytest.param(
            ("type: decimal(7,2)\n    max: 99999.99", "type: bigint\n    max: 1e400"),
            "stock.yaml:16: columns.2.max: 1e400 is not of type int64",
            id="huge-bound-of-a-whole-number",
        ),
        pytest.param(
            ("type: decimal(7,2)\n    max: 99999.99", "type: boolean\n    max: 1"),
            "stock.yaml:16: columns.2.max: a boolean has no minimum or maximum",
            id="bound-of-a-boolean",
        ),
        pytest.param(
            ("max: 99999.99", "min: 5\n    max: 4"),
            "stock.yaml:16: columns.2.min: min 5 is above max 4",
            id="minimum-above-maximum",
        ),
        pytest.param(
            ("mode: snapshot", "delimiter: §\nmode: snapshot"),
            "stock.yaml:3: delimiter: must be an ASCII character, and no line end",
            id="delimiter-of-two-bytes",
        ),
        pytest.param(
            ("mode: snapshot", 'quote: ","\nmode: snapshot'),
            "stock.yaml:1: escape: delimiter, quote and escape must differ",
            id="quote-that-is-the-delimiter",
        ),
        pytest.param(
            ("mode: snapshot", "multiline: true\nmode: snapshot"),
            "stock.yaml:3: multiline: `multiline` needs a quote and a column of text",
            id="several-lines-of-numbers",
        ),
        pytest.param(
            ("mode: snapshot", "mode: append\nmode: snapshot"),
            "stock.yaml:4: mode: declared twice, first on line 3",
            id="key-twice",
        ),
        pytest.param(
            ("mode: snapshot", "encoding: base64\nmode: snapshot"),
            "stock.yaml:3: encoding: unknown encoding 'base64'",
            id="encoding-of-no-text",
        ),
        pytest.param(("dataset: stock", "dataset: Stock"), "stock.yaml:1: dataset: String should", id="name"),
        pytest.param(("columns:", "columns: ["), "stock.yaml:7: ", id="not-yaml"),
        pytest.param(
            ("dataset: stock", "dataset: goods"),
            "stock.yaml: `dataset: goods` must equal the file's name",
            id="another-name",
        ),
    ],
)
def test_a_bad_contract_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(BadContract) as raised:
        load_contract(written(tmp_path, GOOD.replace(*change, 1)))
    assert raised.value.what.startswith(message)


def test_bound_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadContract, match=r"stock.yaml:\d+: columns.0"):
        load_contract(written(tmp_path, GOOD.replace('"1998-01-01"', "yesterday")))


def test_contract_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stock.yaml"
    path.write_bytes(GOOD.encode() + b"description: caf\xe9\n")
    with pytest.raises(BadContract, match=r"stock.yaml: not UTF-8 at byte \d+"):
        load_contract(path)


@pytest.mark.parametrize("name", ["../stock", "stock.yaml", "Stock", ""])
def test_a_dataset_name_from_a_key_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    written(tmp_path, GOOD)
    with pytest.raises(NoContract):
        Contracts(tmp_path / "inner").get(name)


def test_a_contract_that_was_mended_is_read_again(tmp_path: Path) -> None:
    contracts = Contracts(tmp_path)
    path = written(tmp_path, GOOD)
    assert contracts.get("stock").reject_threshold == 0
    path.write_text(GOOD + "reject_threshold: 5\n")
    assert contracts.get("stock").reject_threshold == 5


def test_every_contract_that_ships_is_good() -> None:
    contracts = Contracts(DATASETS)
    assert "inventory" in contracts.names()
    assert all(contracts.get(name).owner for name in contracts.names())
