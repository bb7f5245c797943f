"""Declarations of connections: the ones that ship, and what a wrong one is told."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from blocks.errors import ConfigurationError
from blocks.repair_policy import RepairPolicy
from blocks.settings import ROOT
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
        ("fresh_within: 26h", "fresh_within: soon", 4, "fresh_within: give seconds, minutes, hours or days"),
        ("fresh_within: 8d", "freshwithin: 8d", 12, "streams.1.freshwithin: Extra inputs are not permitted"),
        ("    cursor: updated_at\n", "", 6, "streams.0: incremental_deduped_history needs a cursor"),
        ("    primary_key: [id]\n", "", 6, "streams.0: incremental_deduped_history needs a primary_key"),
        ("fresh_within: 8d", "cursor: x", 12, "streams.1.cursor: full_refresh_overwrite reads everything"),
        ("mode: full_refresh_overwrite", "mode: cdc", 11, "streams.1.sync_mode: Input should be"),
        ("name: reason", "name: Customer", 10, "would be the same table raw_crm.customer"),
        (
            "name: reason",
            "name: reason\n    namespace: hr",
            11,
            "stream reason: schema hr is not among schemas",
        ),
        ("[id]", "[id]\n    columns: [id, name]", 10, "columns must hold the key and the cursor: updated_at"),
        ("[id]", "[id]\n    columns: []", 10, "columns: List should have at least 1 item"),
        ("[id]", "[id, id]", 9, "primary_key: given twice: id"),
        ("[id]", "['']", 9, "primary_key.0: String should have at least 1 character"),
        ("cursor: updated_at", "cursor: ''", 8, "cursor: String should have at least 1 character"),
        ("fresh_within: 26h", "fresh_within: 0h", 4, "more than 0"),
        (
            "name: reason",
            "name: reason\n    namespace: null",
            11,
            "namespace: Input should be a valid string",
        ),
        ("name: reason", "name: reason\n    name: other", 11, "name is given twice"),
        ("owner: customer care", "owner: a\nowner: b", 3, "owner is given twice"),
        ("owner: customer care", "owner: ''", 2, "owner: String should have at least 1 character"),
        ("owner:", "replication: xmin\nowner:", 9, "streams.0.cursor: xmin finds changes by itself"),
        ("owner:", "replication: cdc\nowner:", 2, "replication: cdc needs cdc:"),
        ("owner:", "cdc: {replication_slot: a, publication: b}\nowner:", 2, "goes with replication: cdc"),
        ("owner:", "schema_changes: {columns: shrug}\nowner:", 2, "schema_changes.columns: Input should be"),
        ("streams:", "streams: [", 6, "expected"),
        ("fresh_within: 8d", "repair: {deletes: keep}", 12, "streams.1.repair.deletes: Input should be"),
        ("fresh_within: 8d", "repair: {window: 3d}", 12, "streams.1.repair: repair.window needs a cursor"),
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


def test_two_connections_do_not_write_one_raw_table(tmp_path: Path) -> None:
    (tmp_path / "crm.yaml").write_text(GOOD)
    other = GOOD.replace("source: crm", "source: erp").replace("name: customer", "name: CUSTOMER")
    (tmp_path / "erp.yaml").write_text(other.replace("name: reason", "name: other"))
    with pytest.raises(ConfigurationError) as raised:
        load_declarations(tmp_path)
    assert raised.value.what.splitlines()[1:] == [
        f"{tmp_path}/erp.yaml:6: crm's public.customer and erp's public.CUSTOMER "
        "would be the same table raw_crm.customer"
    ]
    (tmp_path / "erp.yaml").write_text(
        other.replace("fresh_within: 26h", "fresh_within: 26h\ntable_prefix: erp_")
    )
    assert [d.source for d in load_declarations(tmp_path)] == ["crm", "erp"]


def test_two_schemas_with_a_table_of_one_name_need_a_raw_schema_each(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    twice = GOOD.replace("name: reason", "name: customer\n    namespace: hr").replace(
        "streams:", "schemas: [public, hr]\nstreams:"
    )
    file.write_text(twice)
    with pytest.raises(
        ConfigurationError, match=r"crm\.yaml:11: .*public\.customer and hr\.customer would be the same"
    ):
        load_declaration(file)
    file.write_text(twice.replace("schema: raw_crm", "schema: raw_crm_${SOURCE_NAMESPACE}"))
    declaration = load_declaration(file)
    assert [declaration.target_schema(s) for s in declaration.streams] == ["raw_crm_public", "raw_crm_hr"]


def test_a_database_is_declared_once(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(GOOD)
    with pytest.raises(ConfigurationError, match=r"Declared in more than one file of .*: crm"):
        load_declarations(tmp_path)
    with pytest.raises(ConfigurationError, match="No connection is declared"):
        load_declarations(tmp_path / "elsewhere")


def test_a_stream_overrides_how_its_connection_is_repaired(tmp_path: Path) -> None:
    file = tmp_path / "crm.yaml"
    repair = "repair: {compare: all, window: 30d, deletes: report}\n"
    own = "    repair: {compare: key, compare_every: 7d}\n"
    file.write_text(
        GOOD.replace("streams:\n", repair + "streams:\n").replace(
            "  - name: reason", own + "  - name: reason"
        )
    )
    declaration = load_declaration(file)
    customer, reason = (declaration.repair_policy(stream) for stream in declaration.streams)
    assert customer == RepairPolicy(
        compare="key", window=timedelta(days=30), deletes="report", compare_every=timedelta(days=7)
    )
    # A window means nothing without a cursor.
    assert reason == RepairPolicy(compare="all", deletes="report")


READS = re.compile(r"read_source\(\s*'(\w+)', '(\w+)', key=\[([^\]]*)\](?:, cursor='(\w+)')?\s*\)")


def test_staging_merges_repairs_by_the_declared_keys_and_cursors() -> None:
    declared = {
        (declaration.source, stream.name): (stream.primary_key, stream.cursor or "")
        for declaration in load_declarations()
        for stream in declaration.streams
    }
    text = "".join(file.read_text() for file in (ROOT / "dbt/models/staging").rglob("*.sql"))
    read = {
        (source, table): (re.findall(r"'(\w+)'", key), cursor)
        for source, table, key, cursor in READS.findall(text)
    }
    assert text.count("read_source(") == len(read)
    assert read == declared
