"""Values of every type in files that the lake takes over: read back as they were, and found by filters.

DuckLake leaves out files and row groups by the smallest and largest values in the files' footers. Were one
of them wrong, a filter would lose rows without a word.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from staged_files import TABLE, Body, Publisher, stock

from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.validate import validate

KINDS = {
    "i": "integer",
    "b": "bigint",
    "x": "double",
    "f": "boolean",
    "d": "date",
    "t": "timestamp",
    "z": "timestamptz",
    "m": "decimal(9,3)",
    "l": "decimal(18,0)",
    "h": "decimal(38,9)",
    "s": "varchar",
    "v": "varchar(6000)",
}
EDGES: dict[str, list[str]] = {
    "i": ["-2147483648", "2147483647", "0", "-1"],
    "b": ["-9223372036854775808", "9223372036854775807", "0", "-1"],
    "x": ["-1e308", "1e308", "5e-324", "0.1", "-0.0", "0"],
    "f": ["true", "false"],
    "d": ["0001-01-01", "9999-12-31", "1969-12-31"],
    "t": ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2020-01-01 00:00:00.5"],
    "z": ["0001-01-01 00:00:00Z", "9999-12-31 23:59:59.999999Z", "2020-01-01 00:00:00.45Z"],
    "m": ["-999999.999", "999999.999", "0.001"],
    "l": ["-999999999999999999", "999999999999999999", "7"],
    "h": ["-99999999999999999999999999999.999999999", "0.000000001", "99999999999999999999999999999"],
    "s": ["a", "Z", "é", "🚚x", "x" * 30, "x" * 5000, "NULL", "%3A", "a=b"],
    "v": ["1", "-1", "10", "9", "x" * 257],
}


def drawn(chance: random.Random, kind: str) -> str:
    if chance.random() < 0.5:
        return chance.choice(EDGES[kind])
    number = chance.randint(-(10**6), 10**6)
    moment = datetime.fromtimestamp(chance.randint(0, 2 * 10**9), UTC)
    others = {
        "d": str(moment.date()),
        "t": f"{moment:%Y-%m-%d %H:%M:%S}",
        "z": f"{moment:%Y-%m-%d %H:%M:%S}Z",
        "f": "true",
        "m": str(Decimal(number) / 1000),
        "x": repr(chance.gauss(0, 1)),
    }
    return others.get(kind, str(number))


def column(chance: random.Random, kind: str, rows: int) -> list[str]:
    """Return values in some order, some or all of them missing."""
    values = [drawn(chance, kind) if chance.random() > 0.1 else "" for _ in range(rows)]
    how = chance.choice(["any", "any", "sorted", "none first", "none"])
    if how == "sorted":
        return sorted(values)
    if how == "none first":
        return [""] * (rows // 2) + values[rows // 2 :]
    return [""] * rows if how == "none" else values


def conditions(chance: random.Random, name: str) -> list[str]:
    kind = KINDS[name]
    values = [f"cast('{value}' as {kind})" for value in [*EDGES[name], drawn(chance, name)]]
    made = [f"{name} {sign} {value}" for value in values for sign in ("=", "<", ">=", "<>")]
    return [*made, f"{name} is null", f"{name} between {values[1]} and {values[0]}"]


@pytest.mark.parametrize(
    ("seed", "every"), [(1, 9), *(pytest.param(seed, 1, marks=pytest.mark.thorough) for seed in (2, 3, 4))]
)
def test_values_are_as_they_were_and_filters_find_them(
    lake: DuckLakeSettings, tmp_path: Path, seed: int, every: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test wants the same numbers again
    publisher = Publisher(lake, tmp_path)
    contract = stock(columns=[{"name": name, "type": kind} for name, kind in KINDS.items()])
    with connect(lake, threads=1) as reader:
        reader.execute("set TimeZone = 'America/New_York'")
        for key in "fg":
            rows = chance.choice([20, 400])
            table = zip(*(column(chance, kind, rows) for kind in KINDS), strict=True)
            body = ",".join(KINDS) + "\n" + "".join(",".join(row) + "\n" for row in table if any(row))
            candidate = publisher.candidate(body, key, contract)
            publisher.publish(candidate, contract=contract)
            truth = validate(Body(body), contract, candidate.row.file_id).staged
            assert truth is not None
            reader.register(f"of_{key}", truth.table)
        assert len(publisher.added()) == 2
        # In memory of this process, where no statistics of a file have a say.
        reader.execute("create temp table plain as from of_f union all from of_g")
        there = f"select * exclude (_loaded_at) from {TABLE}"
        for one, other in ((there, "from plain"), ("from plain", there)):
            assert reader.execute(f"{one} except all {other}").fetchall() == []
        wrong = []
        for name in KINDS:
            for condition in ["true", *conditions(chance, name)[::every]]:
                what = f"select count(*), sum(_file_row), count({name}), min({name})::text, max({name})::text"
                found, wanted = (
                    reader.execute(f"{what} from {source} where {condition}").fetchall()
                    for source in (TABLE, "plain")
                )
                if found != wanted:
                    wrong.append((condition, found, wanted))
        assert wrong == []
        ledger = reader.execute("select file_id, recorded_at::text from ops.csv_files").fetchall()
        for file_id, moment in ledger:
            for condition in (f"_file_id = '{file_id}'", f"_loaded_at = '{moment}'"):
                found = reader.execute(
                    f"select count(distinct _file_id), min(_file_id) from {TABLE} where {condition}"
                ).fetchall()
                assert found == [(1, file_id)]
