"""Every type has one text on both sides; the text of a row is unlike that of any other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from blocks.canonical_text import ColumnPair
from blocks.postgres_catalog import read_tables
from blocks.reconcile import Sides
from blocks.warehouse_dialects import DUCKDB, SNOWFLAKE, RawColumn
from tests.airbyte_engine import RAW, Engine, open_engine
from tests.conftest import Cluster
from tests.deployments.local.test_airbyte_types import CASES
from tests.reconciling import Table, open_sides

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
# Types of which the values matter, beside those of every type's own case.
RANDOM: dict[str, st.SearchStrategy[Any]] = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "numeric(9,3)": st.decimals(-999999, 999999, places=3),
    "numeric(38,38)": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: f"{n}e-38"),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    "real": st.floats(width=32),
    "double precision": st.floats() | st.floats(1e14, 1e16) | st.floats(-1e-4, 1e-4),
    "text": TEXT,
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes(),
    "jsonb": st.lists(st.none() | st.booleans() | FINITE | TEXT, max_size=3).map(json.dumps),
    "text[]": st.lists(st.none() | TEXT, max_size=4),
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("canonical")) as engine:
        engine.source.execute("create type mood as enum ('sad', 'so ''so''', 'glad')")
        engine.source.execute("create type pair as (a numeric, b text)")
        engine.source.execute("create domain cents as numeric(9,2) check (value > -1000)")
        engine.source.execute("create domain price as cents")
        engine.source.execute("create domain marks as int[] check (array_length(value, 1) < 9)")
        yield engine


@pytest.fixture(scope="module")
def sides(engine: Engine) -> Iterator[Sides]:
    with open_sides(engine) as sides:
        yield sides


def test_every_type_has_the_same_text_on_both_sides_and_can_be_repaired(engine: Engine, sides: Sides) -> None:
    """Each of a type's tricky values replicated and compared, then lost and repaired."""
    columns = ", ".join(f'"{kind}" {case.declared}' for kind, case in CASES.items())
    engine.source.execute(f"create table every_type (id int primary key, {columns})".encode())
    marks = ", ".join(f"%s::text::{case.declared}" for case in CASES.values())
    for i in range(7):
        values = [list(case.values)[i % len(case.values)] for case in CASES.values()]
        engine.source.execute(f"insert into every_type values (%s, {marks})".encode(), [i, *values])
    engine.source.execute("insert into every_type (id) values (7)")
    table = Table(sides, engine, "every_type", ["id"], "id", {"compare": "all"})
    table.sync()
    assert table.found() == {}

    names = ", ".join(f'"{kind}"::varchar' for kind in CASES)
    changes = "_airbyte_meta->'$.changes'"
    before = table.staged(f"{names}, {changes}", "id")
    engine.lake.execute(f"delete from {RAW}.every_type where id < 7")
    assert table.found() == {"missing": 7, "repaired": 7}
    assert table.staged(f"{names}, {changes}", "id") == before
    assert table.found() == {}


@given(st.lists(st.tuples(*(st.none() | values for values in RANDOM.values())), min_size=25, max_size=50))
@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[*HealthCheck],
)
def test_random_values_have_the_same_text_on_both_sides(
    engine: Engine, sides: Sides, rows: list[tuple[Any, ...]]
) -> None:
    name = f"random_{next(_numbers)}"
    columns = ", ".join(f"c{i} {declared}" for i, declared in enumerate(RANDOM))
    engine.source.execute(f"create table {name} (id int primary key, {columns})".encode())
    marks = ", ".join(f"%s::{declared}" for declared in RANDOM)
    with engine.source.cursor() as cursor:
        cursor.executemany(
            f"insert into {name} values (%s, {marks})".encode(), [(i, *row) for i, row in enumerate(rows)]
        )
    table = Table(sides, engine, name, ["id"], "id", {"compare": "all"})
    table.sync()
    assert table.found() == {}
    engine.lake.execute(f"delete from {RAW}.{name} where id < 5")
    assert table.found() == {"missing": 5, "repaired": 5}
    assert table.found() == {}


def test_no_two_rows_have_the_same_text(engine: Engine, sides: Sides) -> None:
    alike = [
        "'x', 'y'",
        "'x;', 'y'",
        "'', null",
        "null, ''",
        "null, null",
        "'1:x', ''",
        "'x', 'y '",
        "'', ''",
    ]
    engine.source.execute("create table alike (id int primary key, a text, b text)")
    for i, values in enumerate(alike):
        engine.source.execute(f"insert into alike values ({i}, {values})".encode())
    table = Table(sides, engine, "alike", ["id"], "id", {"compare": "all"})
    table.sync()
    for shift in range(1, len(alike), 3):
        for i in range(len(alike)):
            values = alike[(i + shift) % len(alike)]
            engine.source.execute(f"update alike set (a, b) = row({values}) where id = {i}".encode())
        assert table.found() == {"stale": len(alike), "repaired": len(alike)}
    assert table.staged() == table.origin()


def test_a_table_wider_than_postgres_takes_arguments_is_compared(engine: Engine, sides: Sides) -> None:
    columns = ", ".join(f"c{i} timestamp default '2020-01-01'" for i in range(120))
    engine.source.execute(f"create table wide (id int primary key, {columns})".encode())
    engine.source.execute("insert into wide values (1), (2)")
    table = Table(sides, engine, "wide", ["id"], "id", {"compare": "all"})
    table.sync()
    engine.source.execute("update wide set c119 = '2021-01-01' where id = 1")
    assert table.found() == {"stale": 1, "repaired": 1}


# Snowflake, never run here ---------------------------------------------------------------------------

SNOWFLAKE_TYPES = {
    "BOOLEAN": "boolean",
    "NUMBER(38,0)": "integer",
    "NUMBER(38,9)": "decimal",
    "DOUBLE": "float",
    "DATE": "date",
    "TIME(9)": "time",
    "TIMESTAMP_NTZ(9)": "timestamp",
    "TIMESTAMP_TZ(9)": "instant",
    "VARCHAR(16777216)": "text",
    "VARIANT": "nested",
    "ARRAY": "nested",
}


@pytest.mark.parametrize("declared", SNOWFLAKE_TYPES)
def test_snowflakes_types_are_known(declared: str) -> None:
    assert RawColumn("C", declared).kind == SNOWFLAKE_TYPES[declared]


def test_a_backslash_does_not_end_a_text_on_snowflake() -> None:
    assert SNOWFLAKE.literal("\\' or 1 = 1 --") == r"'\\'' or 1 = 1 --'"
    assert (SNOWFLAKE.literal(None), DUCKDB.literal("\\'")) == ("null", r"'\'''")


def test_numbers_are_compared_with_the_places_that_the_warehouse_keeps(engine: Engine, sides: Sides) -> None:
    """A destination that keeps `numeric(7,2)` as NUMBER(38,9) shows 12.30 as 12.300000000."""
    engine.source.execute("create table priced (id int, price numeric(7,2), bare numeric)")
    engine.source.execute("insert into priced values (1, 12.3, 1e30), (2, 'NaN', 0.12345678951)")
    (table,) = [
        table
        for (_, name), table in read_tables(
            lambda sql: [row[0] for row in engine.source.execute(sql.encode()).fetchall()], ["public"]
        ).items()
        if name == "priced"
    ]
    texts = ", ".join(
        ColumnPair(column, RawColumn(column.name.upper(), "NUMBER(38,9)")).text
        for column in table.columns[1:]
    )
    found = engine.source.execute(f"select {texts} from priced order by id".encode()).fetchall()
    assert found == [("12.300000000", None), (None, "0.123456790")]


def test_a_key_without_a_precision_is_compared_by_its_value(engine: Engine, sides: Sides) -> None:
    engine.source.execute("create table weights (id numeric primary key, changed int)")
    engine.source.execute("insert into weights values (1.00, 1), (2.5, 2)")
    table = Table(sides, engine, "weights", ["id"], "changed")
    table.sync()
    assert table.found() == {}
    engine.lake.execute(f"delete from {RAW}.weights where changed = 1")
    assert table.found() == {"missing": 1, "repaired": 1}
    assert table.found() == {}
