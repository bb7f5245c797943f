"""Contracts: what is wrong with one is said with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambda_csv_loader.contract import BadContract, Contracts, NoContract, load_contract
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
            "stock.yaml:1: 'itme' is a key or partition but not a column",
            id="key-is-no-column",
        ),
        pytest.param(
            ("    nullable: false\n  - name: price", "  - name: price"),
            "stock.yaml:1: 'item' is a key or partition, so it needs `nullable: false`",
            id="nullable-key",
        ),
        pytest.param(
            ("mode: snapshot", "mode: append"),
            "stock.yaml:1: `partition_by` belongs to mode snapshot, not append",
            id="partition-without-snapshot",
        ),
        pytest.param(("name: price", "name: item"), "stock.yaml:1: columns declared twice: item", id="twice"),
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
