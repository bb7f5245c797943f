"""Every PostgreSQL type arrives with its value unchanged, or as NULL with a note in `_airbyte_meta`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.airbyte_engine import Engine, open_engine
from tests.conftest import Cluster


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("types")) as engine:
        engine.source.execute("create type mood as enum ('sad', 'so ''so''', 'glad')")
        engine.source.execute("create type pair as (a numeric, b text)")
        engine.source.execute("create domain cents as numeric(9,2) check (value > -1000)")
        engine.source.execute("create domain price as cents")
        engine.source.execute("create domain marks as int[] check (array_length(value, 1) < 9)")
        yield engine


class Case(NamedTuple):
    declared: str
    lake: str
    values: dict[str, str | None]  # PostgreSQL literal → text in the lake, None = NULL with a change


TRICKY = 'quote " and \\ and\nline, ünïcode 🦆'
CASES = {
    "boolean": Case("boolean", "BOOLEAN", {"true": "true", "false": "false"}),
    "smallint": Case("smallint", "SMALLINT", {"-32768": "-32768", "32767": "32767"}),
    "integer": Case("integer", "INTEGER", {"-2147483648": "-2147483648"}),
    "bigint": Case("bigint", "BIGINT", {"9223372036854775807": "9223372036854775807"}),
    "oid": Case("oid", "BIGINT", {"4294967295": "4294967295"}),
    "numeric(7,2)": Case(
        "numeric(7,2)", "DECIMAL(7,2)", {"-99999.99": "-99999.99", "0.10": "0.10", "NaN": None}
    ),
    "numeric(38,0)": Case("numeric(38,0)", "DECIMAL(38,0)", {"9" * 38: "9" * 38}),
    "numeric(38,38)": Case("numeric(38,38)", "DECIMAL(38,38)", {"0." + "9" * 38: "." + "9" * 38}),
    "numeric(5,-2)": Case("numeric(5,-2)", "VARCHAR", {"1234567": "1234600"}),
    "numeric(2,5)": Case("numeric(2,5)", "VARCHAR", {"0.00099": "0.00099"}),
    "numeric(50,5)": Case("numeric(50,5)", "VARCHAR", {"1" * 45 + ".00001": "1" * 45 + ".00001"}),
    "bare numeric": Case(
        "numeric",
        "VARCHAR",
        {"1.00000000000000000001": "1.00000000000000000001", "NaN": "NaN", "-Infinity": "-Infinity"},
    ),
    "domain": Case("price", "DECIMAL(9,2)", {"12.30": "12.30"}),
    "real": Case("real", "FLOAT", {"1.1": "1.1", "NaN": "nan", "-Infinity": "-inf"}),
    "double": Case("double precision", "DOUBLE", {"0.1": "0.1", "NaN": "nan", "Infinity": "inf"}),
    "money": Case("money", "VARCHAR", {"-1234.56": "-1234.56"}),
    "text": Case("text", "VARCHAR", {"": "", TRICKY: TRICKY}),
    "varchar": Case("varchar(3)", "VARCHAR", {"abc": "abc"}),
    "char": Case("char(5)", "VARCHAR", {"ab": "ab"}),
    "name": Case("name", "VARCHAR", {"a name": "a name"}),
    "one byte char": Case('"char"', "VARCHAR", {"x": "x"}),
    "bytea": Case("bytea", "VARCHAR", {"\\x00ff5c": "\\x00ff5c"}),
    "uuid": Case(
        "uuid", "VARCHAR", {"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}
    ),
    "json": Case("json", "VARCHAR", {'{"b":  1, "a": 1.10}': '{"b":  1, "a": 1.10}'}),
    "jsonb": Case("jsonb", "VARCHAR", {'{"b":1.10,"a":[null]}': '{"a": [null], "b": 1.10}'}),
    "date": Case(
        "date",
        "DATE",
        {
            "0001-01-01": "0001-01-01",
            "9999-12-31": "9999-12-31",
            "infinity": None,
            "-infinity": None,
            "0044-03-15 BC": None,
            "5874897-12-31": None,
        },
    ),
    "time": Case("time", "TIME", {"23:59:59.999999": "23:59:59.999999", "24:00": None}),
    "timetz": Case("timetz", "VARCHAR", {"12:00:00.5+05:30": "12:00:00.5+05:30"}),
    "timestamp": Case(
        "timestamp",
        "TIMESTAMP",
        {
            "0001-01-01 00:00": "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999": "9999-12-31 23:59:59.999999",
            "infinity": None,
            "294276-01-01": None,
            "0044-03-15 12:00 BC": None,
        },
    ),
    "timestamptz": Case(
        "timestamptz",
        "TIMESTAMP WITH TIME ZONE",
        {
            "2003-06-01 12:00:00.123456+02": "2003-06-01 10:00:00.123456+00",
            "-infinity": None,
            "294276-01-01 00:00+00": None,
        },
    ),
    "interval": Case(
        "interval",
        "VARCHAR",
        {"1 year 2 mons -3 days 04:05:06.7": "1 year 2 mons -3 days +04:05:06.7", "-1 mon": "-1 mons"},
    ),
    "inet": Case("inet", "VARCHAR", {"10.0.0.1": "10.0.0.1/32"}),
    "cidr": Case("cidr", "VARCHAR", {"10.1.0.0/16": "10.1.0.0/16"}),
    "macaddr": Case("macaddr", "VARCHAR", {"08:00:2b:01:02:03": "08:00:2b:01:02:03"}),
    "enum": Case("mood", "VARCHAR", {"so 'so'": "so 'so'"}),
    "point": Case("point", "VARCHAR", {"(1,2.5)": "(1,2.5)"}),
    "range": Case("int4range", "VARCHAR", {"[1,5)": "[1,5)", "empty": "empty"}),
    "bit": Case("bit(3)", "VARCHAR", {"101": "101"}),
    "varbit": Case("varbit(5)", "VARCHAR", {"10110": "10110", "": ""}),
    "multirange": Case("int4multirange", "VARCHAR", {"{[1,5),[7,9)}": "{[1,5),[7,9)}", "{}": "{}"}),
    "circle": Case("circle", "VARCHAR", {"<(1,2.5),3>": "<(1,2.5),3>"}),
    "pg_lsn": Case("pg_lsn", "VARCHAR", {"16/B374D848": "16/B374D848"}),
    "regclass": Case("regclass", "VARCHAR", {"pg_class": "pg_class"}),
    "macaddr8": Case("macaddr8", "VARCHAR", {"08:00:2b:01:02:03:04:05": "08:00:2b:01:02:03:04:05"}),
    "tsquery": Case("tsquery", "VARCHAR", {"a & !b": "'a' & !'b'"}),
    "tsvector": Case("tsvector", "VARCHAR", {"a b": "'a' 'b'"}),
    "int array": Case("int[]", "JSON", {"{1,NULL,3}": "[1,null,3]", "{}": "[]"}),
    "array of unequal depth": Case("int[]", "JSON", {"{{1,2},{3,4}}": "[[1,2],[3,4]]", "{5}": "[5]"}),
    "numeric array": Case("numeric[]", "JSON", {"{1.00000000000000001,NaN}": '[1.00000000000000001,"NaN"]'}),
    "text array": Case("text[]", "JSON", {'{"a\\"b",""}': '["a\\"b",""]'}),
    "money array": Case("money[]", "JSON", {"{1.50,-1234.56}": "[1.50,-1234.56]"}),
    "enum array": Case("mood[]", "JSON", {"{sad,\"so 'so'\"}": '["sad","so \'so\'"]'}),
    "array of domain": Case("price[]", "JSON", {"{1.10,NULL}": "[1.10,null]"}),
    "domain over array": Case("marks", "JSON", {"{1,2}": "[1,2]"}),
    "composite array": Case("pair[]", "JSON", {'{"(1.10,x)"}': '[{"a":1.10,"b":"x"}]'}),
    "composite": Case("pair", "JSON", {"(1.10,x)": '{"a":1.10,"b":"x"}'}),
}  # fmt: skip


# Types that DuckDB itself reads rightly; without unfit values they come by its parallel scan.
SCANNED = [kind for kind, case in CASES.items() if case.lake not in ("VARCHAR", "JSON")]
SCANNED += ["text", "varchar", "char", "uuid", "json", "jsonb"]
COPIES = {"few rows": 1, "many rows": 20}  # kept in the lake's catalog, kept in Parquet


@pytest.fixture(scope="module")
def replicated(engine: Engine) -> Engine:
    """The tables `queried ...` with every value, and `scanned ...` with the fit ones of the plain types."""
    for rows, copies in COPIES.items():
        fill(engine, f"queried {rows}", {kind: list(case.values) for kind, case in CASES.items()}, copies)
        plain = {kind: [v for v, text in CASES[kind].values.items() if text] for kind in SCANNED}
        fill(engine, f"scanned {rows}", plain, copies)
    return engine


def fill(engine: Engine, table: str, values: dict[str, list[str]], copies: int) -> None:
    """Make a table with a column per type, each holding its values over and over; sync it."""
    columns = ", ".join(f'"{kind}" {CASES[kind].declared}' for kind in values)
    engine.source.execute(f'create table "{table}" (id int primary key, {columns})'.encode())
    count = max(len(literals) for literals in values.values()) * copies
    marks = ", ".join(f"%s::text::{CASES[kind].declared}" for kind in values)
    with engine.source.cursor() as cursor:
        cursor.executemany(
            f'insert into "{table}" values (%s, {marks})'.encode(),
            [[i, *(literals[i % len(literals)] for literals in values.values())] for i in range(count)],
        )
    engine.sync(table, "full_refresh_overwrite")


@pytest.mark.parametrize("rows", COPIES)
@pytest.mark.parametrize("kind", CASES)
def test_a_value_arrives_unchanged_or_as_null_with_a_note(replicated: Engine, kind: str, rows: str) -> None:
    case, table = CASES[kind], f"queried {rows}"
    found = replicated.rows(table, f'typeof("{kind}"), "{kind}"::varchar, _airbyte_meta->\'$.changes\'', "id")
    expected = list(case.values.values())
    assert {row[0].strip('"') for row in found} == {case.lake}
    for i, (_, text, changes) in enumerate(found):
        noted = {"field": kind, "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"}
        assert (text, noted in json.loads(changes)) == (expected[i % len(expected)], text is None)


@pytest.mark.parametrize("rows", COPIES)
@pytest.mark.parametrize("kind", SCANNED)
def test_a_parallel_scan_gives_the_same_values(replicated: Engine, kind: str, rows: str) -> None:
    expected = [text for text in CASES[kind].values.values() if text]
    found = replicated.rows(
        f"scanned {rows}", f'typeof("{kind}"), "{kind}"::varchar, _airbyte_meta::varchar', "id"
    )
    assert {row[0] for row in found} == {CASES[kind].lake}
    assert [row[1] for row in found] == [expected[i % len(expected)] for i in range(len(found))]
    assert all(row[2].endswith('"changes":[]}') for row in found)


def test_a_null_stays_null_and_a_default_meta_says_so(engine: Engine) -> None:
    engine.source.execute("create table nothing (id int primary key, v numeric(7,2))")
    engine.source.execute("insert into nothing values (1, null)")

    engine.sync("nothing", "full_refresh_overwrite", job_id=77)

    assert engine.rows("nothing", "v, _airbyte_meta::varchar") == [(None, '{"sync_id":77,"changes":[]}')]
