"""Declarations of connections: the ones that ship, and what a wrong one is told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from blocks.errors import ConfigurationError
from deployments.connection import load_declaration, load_declarations

GOOD = """\
source: crm
owner: customer care
destination_schema: raw_crm
fresh_within: 26h
streams:
  - name: customer
    sync_mode: incremental_deduped_history
    cursor: updated_at
    primary_key: [id]
  - name: reason
    sync_mode: full_refresh_overwrite
    fresh_within: 8d
"""


def test_the_declarations_that_ship_are_good() -> None:
    declared = {declaration.source: declaration for declaration in load_declarations()}
    assert sorted(declared) == ["accounting", "crm", "erp"]
    assert {name: len(declaration.streams) for name, declaration in declared.items()} == {
        "accounting": 3,
        "crm": 5,
        "erp": 7,
    }
    assert all(d.destination_schema == f"raw_{name}" and d.owner for name, d in declared.items())


def test_a_declaration_says_owner_freshness_and_mode_of_each_stream(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(GOOD)
    declaration = load_declaration(file)
    customer, reason = declaration.streams
    assert (declaration.fresh_within, customer.fresh_within, reason.fresh_within) == (
        timedelta(hours=26),
        None,
        timedelta(days=8),
    )
    assert (customer.cursor, customer.primary_key, customer.namespace) == ("updated_at", ["id"], "public")


@pytest.mark.parametrize(
    ("good", "bad", "line", "words"),
    [
        ("owner: customer care\n", "", 1, "owner: Field required"),
        ("owner: customer care", "owner: [1]", 2, "owner: Input should be a valid string"),
        ("source: crm", "source: CRM", 1, "source: String should match pattern"),
        ("fresh_within: 26h", "fresh_within: soon", 4, "fresh_within: give minutes, hours or days"),
        ("fresh_within: 8d", "freshwithin: 8d", 12, "streams.1.freshwithin: Extra inputs are not permitted"),
        ("    cursor: updated_at\n", "", 6, "streams.0: incremental_deduped_history needs a cursor"),
        ("    primary_key: [id]\n", "", 6, "streams.0: incremental_deduped_history needs a primary_key"),
        ("fresh_within: 8d", "cursor: x", 10, "streams.1: full_refresh_overwrite reads everything"),
        ("mode: full_refresh_overwrite", "mode: cdc", 11, "streams.1.sync_mode: Input should be"),
        ("name: reason", "name: Customer", 1, "would be the same table raw_crm.customer"),
        (
            "name: reason",
            "name: reason\n    namespace: hr",
            1,
            "stream reason: schema hr is not among schemas",
        ),
        ("[id]", "[id]\n    columns: [id, name]", 6, "columns must hold the key and the cursor: updated_at"),
        ("streams:", "streams: [", 6, "expected"),
        (GOOD, "", 1, "a mapping with source, owner, streams"),
    ],
    ids=lambda value: None,
)
def test_a_wrong_declaration_is_told_where_and_why(
    tmp_path: Path, good: str, bad: str, line: int, words: str
) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(GOOD.replace(good, bad, 1))
    with pytest.raises(ConfigurationError) as raised:
        load_declaration(file)
    assert f"{file}:{line}: " in raised.value.what
    assert words in raised.value.what


def test_every_problem_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    file.write_text(GOOD.replace("26h", "soon").replace("full_refresh_overwrite", "cdc"))
    with pytest.raises(ConfigurationError) as raised:
        load_declaration(file)
    assert [line.split(": ")[0] for line in raised.value.what.splitlines()[1:]] == [f"{file}:4", f"{file}:11"]


def test_a_database_is_declared_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"Declared in more than one file of .*: crm"):
        load_declarations(tmp_path)
    with pytest.raises(ConfigurationError, match="No connection is declared"):
        load_declarations(tmp_path / "elsewhere")
