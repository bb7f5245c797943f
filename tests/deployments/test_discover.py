"""Discovering a database that has everything which a discovery can stumble over, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.connection import ConnectionDeclaration, StreamDeclaration, load_declaration
from deployments.discover import Discovery, discover, write
from deployments.discovery.address import Address
from deployments.discovery.streams import LeftOut, Stream
from tests.conftest import Cluster

LONG = "a_name_of_exactly_sixty_three_bytes_that_is_as_long_as_one_can_"
FULL, INCREMENTAL = "full_refresh_overwrite", "incremental_deduped_history"


@dataclass
class Nasty:
    """The database, and what was found in it by a user who may not see everything."""

    name: str
    address: Address
    discovery: Discovery
    declared: ConnectionDeclaration

    def stream(self, namespace: str, name: str) -> Stream:
        streams = self.discovery.proposal.streams
        return next(one for one in streams if (one.namespace, one.name) == (namespace, name))


@pytest.fixture(scope="module")
def nasty(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nasty]:
    name = cluster.create_database("nasty")
    with cluster.connect(name) as database:
        database.execute(Path(__file__).with_name("nasty_database.sql").read_bytes())
        database.execute("create role lodger login password 'lodger'")
        for schema in ("public", "hr", '"HR"', '"Sales Data"'):
            database.execute(f"grant usage on schema {schema} to lodger".encode())
            database.execute(f"grant select on all tables in schema {schema} to lodger".encode())
        database.execute("revoke select on salaries from lodger")
        database.execute("analyze")
    address = Address.parse(f"postgresql://lodger:lodger@127.0.0.1:{cluster.port}/{name}")
    discovery = discover(address, name="nasty")
    file = tmp_path_factory.mktemp("discovered") / "nasty.yaml"
    write(discovery, file)
    yield Nasty(name, address, discovery, load_declaration(file))
    with cluster.connect("postgres") as database:
        database.execute(f"drop database {name} with (force)".encode())
        database.execute("drop role lodger")


STREAMS: dict[tuple[str, str], tuple[str, str | None, list[str]]] = {
    ("HR", "order_line"): (FULL, None, ["id"]),
    ("Sales Data", "Item"): (INCREMENTAL, "updated_at", ["id"]),
    ("public", LONG.upper()): (FULL, None, ["id"]),
    ("public", "Order"): (INCREMENTAL, "UpdatedAt", ["Id"]),
    ("public", "animal"): (FULL, None, []),
    ("public", "by_argument"): (INCREMENTAL, "änderung", ["id"]),
    ("public", "by_trigger"): (INCREMENTAL, "TS", ["id"]),
    ("public", "case_columns"): (FULL, None, ["id"]),
    ("public", "computed"): (FULL, None, ["id"]),
    ("public", "counted"): (FULL, None, ["id"]),
    ("public", "daily"): (INCREMENTAL, "last_modified", ["id"]),
    ("public", "disabled_trigger"): (FULL, None, ["id"]),
    ("public", "dog"): (FULL, None, []),
    ("public", "epochs"): (INCREMENTAL, "updated_at", ["id"]),
    ("public", "growing"): (FULL, None, ["id"]),
    ("public", 'it\'s: a "table" [ü] #1 – 日本'): (FULL, None, ["the key: %s"]),
    ("public", "kept"): (FULL, None, ["id"]),
    ("public", "late_filled"): (FULL, None, ["id"]),
    ("public", "local_time"): (INCREMENTAL, "modified_at", ["id"]),
    ("public", "measured"): (INCREMENTAL, "updated_at", ["at", "id"]),
    ("public", "no_cursor_types"): (FULL, None, ["id"]),
    ("public", "no_key"): (FULL, None, []),
    ("public", "not_quite"): (FULL, None, []),
    ("public", "null"): (FULL, None, ["yes"]),
    ("public", "only_created"): (FULL, None, ["id"]),
    ("public", "order_line"): (INCREMENTAL, "updated_at", ["order_id", "line"]),
    ("public", "other_times"): (FULL, None, ["id"]),
    ("public", "replica"): (FULL, None, ["b", "c"]),
    ("public", "tenants"): (FULL, None, ["id"]),
    ("public", "ticket"): (FULL, None, ["id"]),
    ("public", "two\nlines"): (FULL, None, ["a\tb"]),
    ("public", "typed"): (INCREMENTAL, "modified", ["id"]),
    ("public", "unique_only"): (INCREMENTAL, "updated_at", ["code"]),
    ("public", "versioned"): (INCREMENTAL, "version", ["id"]),
}


def test_every_table_that_can_be_read_is_a_stream_and_no_partition_is(nasty: Nasty) -> None:
    assert sorted((s.namespace, s.name) for s in nasty.declared.streams) == sorted(STREAMS)


@pytest.mark.parametrize("table", STREAMS, ids=lambda table: f"{table[0]}.{table[1]}")
def test_mode_cursor_and_key_are(nasty: Nasty, table: tuple[str, str]) -> None:
    declared = next(s for s in nasty.declared.streams if (s.namespace, s.name) == table)
    assert (declared.sync_mode, declared.cursor, declared.primary_key) == STREAMS[table]


@pytest.mark.parametrize(
    ("table", "note"),
    [
        ("order_line", "Cursor updated_at: timestamptz, set by trigger stamp, indexed, never null"),
        ("order_line", "Not the cursor: created_at: a time of creation, later changes of the row would not"),
        ("Order", "Cursor UpdatedAt: timestamptz, set by the application, no trigger, not indexed, never"),
        ("measured", "Partitioned, 3 partitions, read as one table; about 3 rows"),
        ("local_time", "no time zone, and local time repeats an hour in autumn"),
        ("local_time", "Also possible: changed_on: date, set by the application"),
        ("computed", "Not the cursor: updated_on: computed from other columns"),
        ("counted", "Not the cursor: version: trigger v counts per row"),
        ("versioned", "Cursor version: bigint, set by trigger v"),
        ("late_filled", "Not the cursor: updated_at: null in 75% of the rows, which only the first sync"),
        ("ticket", "Not the cursor: closed_at: trigger closes does not set it with every update"),
        ("kept", "Not the cursor: made, ts: neither a trigger nor the name says that it changes"),
        ("other_times", "Not the cursor: shipped_at, password_changed_at: neither a trigger nor the name"),
        ("growing", "Also possible: id: grows with new rows only, bigint, from a sequence, indexed"),
        ("unique_only", "No primary key: a unique index without NULLs serves as one"),
        ("late_filled", "About 100 rows"),
    ],
)
def test_the_file_says_why(nasty: Nasty, table: str, note: str) -> None:
    assert any(note in one for one in nasty.stream("public", table).notes)


@pytest.mark.parametrize(
    ("table", "warning"),
    [
        ("no_key", "no primary key and no unique index over columns that are never null"),
        ("growing", "no usable cursor: every sync reads it as a whole"),
        ("daily", "last_modified is a day: every sync reads the rows of its last day again"),
        ("typed", "modified is nullable: rows without it are read by the first sync only"),
        ("animal", "other tables inherit from it"),
        ("tenants", "row security hides rows from this user"),
        ("case_columns", "left out: note, _airbyte_meta"),
    ],
)
def test_a_warning_stands_at_the_stream_and_at_the_top(nasty: Nasty, table: str, warning: str) -> None:
    assert any(one.startswith(warning) for one in nasty.stream("public", table).warnings)
    head, _, streams = flat(nasty.discovery.text).partition(" streams: ")
    assert f"public.{table}" in head
    assert warning in head
    assert f"Warning: {warning}" in streams


def test_columns_that_a_warehouse_cannot_hold_are_not_selected(nasty: Nasty) -> None:
    declared = next(s for s in nasty.declared.streams if s.name == "case_columns")
    assert declared.columns == ["id", "Note"]


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("public.order_view", "a view: no key, no change time"),
        ("public.order_sums", "a materialized view: no key"),
        ("public.far", "a foreign table: its rows are another server's"),
        ("public.no_column", "it has no column"),
        ("public.__floe_repairs_x", "its name is one that Floe gives to tables of its own"),
        ("public.case_key", "columns of its key differ in upper and lower case only"),
        (f"public.{LONG}", f"warehouses do not tell it apart from public.{LONG.upper()}"),
        ("hr.order_line", "warehouses do not tell it apart from HR.order_line"),
        ("Sales Data.item", "warehouses do not tell it apart from Sales Data.Item"),
        ("public.salaries", "lodger may not read it"),
        ("closed.secret", "lodger may not read it"),
    ],
)
def test_what_is_left_out_is_listed_with_the_reason(nasty: Nasty, table: str, reason: str) -> None:
    left: dict[str, LeftOut] = {f"{x.namespace}.{x.name}": x for x in nasty.discovery.proposal.left_out}
    assert len(left) == 11
    assert left[table].reason.startswith(reason)
    assert f"{table}: {reason}" in flat(nasty.discovery.text)


def test_the_statements_that_it_names_let_the_user_read_the_table(cluster: Cluster, nasty: Nasty) -> None:
    left = next(one for one in nasty.discovery.proposal.left_out if one.name == "secret")
    assert f"closed.secret: lodger may not read it; {left.remedy}" in flat(nasty.discovery.text)
    with cluster.connect(nasty.name) as database:
        database.execute(left.remedy.encode())
        again = discover(nasty.address, schemas=["closed"])
        database.execute("revoke all on closed.secret from lodger")
    assert [stream.name for stream in again.proposal.streams] == ["secret"]


def test_taking_the_sign_away_declares_a_view(nasty: Nasty, tmp_path: Path) -> None:
    lines = nasty.discovery.text.splitlines()
    start = lines.index("  # - name: order_view")
    lines[start : start + 2] = [line.replace("# ", "", 1) for line in lines[start : start + 2]]
    file = tmp_path / "nasty.yaml"
    file.write_text("\n".join(lines))
    assert load_declaration(file).streams[-1] == StreamDeclaration(name="order_view", sync_mode=FULL)


def test_each_schema_of_the_source_gets_a_raw_schema_of_its_own(nasty: Nasty) -> None:
    assert nasty.declared.schemas == ["HR", "Sales Data", "public"]
    targets = {(nasty.declared.target_schema(s).lower(), s.name.lower()) for s in nasty.declared.streams}
    assert len(targets) == len(STREAMS)
    assert ("raw_nasty_hr", "order_line") in targets
    assert ("raw_nasty_public", "order_line") in targets


def test_one_schema_can_be_asked_for(nasty: Nasty) -> None:
    found = discover(nasty.address, schemas=["hr"])
    assert found.proposal.namespaces == ["hr"]
    assert "destination_schema: raw_nasty" in found.text
    assert "${SOURCE_NAMESPACE}" not in found.text


def test_a_table_that_is_being_rewritten_does_not_stop_it(cluster: Cluster, nasty: Nasty) -> None:
    with cluster.connect(nasty.name) as database, database.transaction():
        database.execute("lock table order_line, measured, measured_2023, growing in access exclusive mode")
        assert discover(nasty.address, name="nasty").text == nasty.discovery.text


def flat(text: str) -> str:
    """Return a file's text on one line, as if no comment were folded."""
    return " ".join(word for word in text.split() if word != "#")
