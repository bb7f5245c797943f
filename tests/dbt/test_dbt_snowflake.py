"""The `snowflake` target built on the emulator, three times, with the lake's changes between.

Each time its marts and histories must be what DuckLake makes of the same raw rows. The SQL of the second
run is kept as golden files, for whoever reviews a change of it; after an intended one take them anew:
`RETAKE_GOLDEN=1 .venv/bin/pytest tests/dbt/test_dbt_snowflake.py`.

The emulator is DuckDB behind Snowflake's protocol and grammar. It says nothing of grants, warehouses,
transient tables, Time Travel or speed, and takes SQL that Snowflake would refuse; hence the golden files are
also parsed as Snowflake's, and every function in them must be one that Snowflake documents.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import snowflake.connector
from dbt_stages import DbtProject, DbtServer, Outcome, Stage
from snowflake_stack import PYTHON, new_key, running_fakesnow
from snowflake_target import DATABASE, SnowflakeTarget, as_text

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(not PYTHON.exists(), reason="no emulator. Next: make .venv-fakesnow/installed"),
]

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "snowflake"
# What the emulator cannot run, though Snowflake can: the node and a part of the error.
NOT_ON_FAKESNOW = {
    # It takes every whole number for a BIGINT, which DuckDB does not add to a date.
    "days_outside_the_period_of_sales_are_not_observed": "'+(DATE, BIGINT)'",
}
HISTORIES = ("+dim_customers_history", "+dim_promotions_history")
REBUILT_LAST = ("snp_customers", "snp_promotions", "dim_customers_history", "dim_promotions_history")
# https://docs.snowflake.com/en/sql-reference/functions-all
FUNCTIONS = {
    "cast",
    "coalesce",
    "convert_timezone",
    "count",
    "dateadd",
    "greatest",
    "hash",
    "hash_agg",
    "lag",
    "max",
    "md5",
    "min",
    "nullif",
    "row_number",
    "sum",
}
TYPES = {"numeric"}

Built = tuple[Stage, Outcome, dict[str, str]]


@pytest.fixture(scope="module")
def target(
    dbt: DbtServer, project: DbtProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SnowflakeTarget]:
    folder = tmp_path_factory.mktemp("snowflake")
    statements = folder / "statements"
    statements.touch()
    with (
        running_fakesnow(folder, HERE / "fakesnow_for_dbt.py", str(statements)) as port,
        snowflake.connector.connect(
            account="fakesnow",
            user="FLOE_LOADER",
            password="unchecked",
            host="127.0.0.1",
            port=port,
            protocol="http",
            network_timeout=120,
            platform_detection_timeout_seconds=0,
        ) as connection,
    ):
        connection.cursor().execute(f"create database {DATABASE}")
        connection.cursor().execute(f"use database {DATABASE}")
        own = DbtProject(dbt, project.lake, folder)
        yield SnowflakeTarget(own, connection, port, new_key(), statements)


@pytest.fixture(scope="module")
def first_run(target: SnowflakeTarget, first: Stage) -> Built:
    """Built from nothing, with every test of the project."""
    target.load_raw(first)
    return first, *target.run("build", "--exclude", *NOT_ON_FAKESNOW)


@pytest.fixture(scope="module")
def second_run(target: SnowflakeTarget, first_run: Built, changed: Stage) -> Built:
    """Built again after a day of changes."""
    target.load_raw(changed)
    return changed, *target.run("build", "--exclude-resource-type", "unit_test")


@pytest.fixture(scope="module")
def third_run(target: SnowflakeTarget, second_run: Built, mended: Stage) -> Built:
    """The histories once more: a delete turned out to be none."""
    target.load_raw(mended)
    return mended, *target.run("build", "--select", *HISTORIES, "--exclude-resource-type", "unit_test")


def relations(project: DbtProject) -> dict[str, tuple[str, list[str]]]:
    """Return the marts and snapshots: their schema and columns, by name."""
    nodes = project.manifest()["nodes"].values()
    columns = {node["name"]: list(node["columns"]) for node in nodes if node["resource_type"] == "model"}
    marts = {node["name"]: node["schema"] for node in nodes if node["schema"] == "build"}
    kept = {name: (schema, columns[name]) for name, schema in marts.items() if name in columns}
    meta = ["dbt_valid_from", "dbt_valid_to", "dbt_updated_at", "dbt_is_deleted", "dbt_scd_id"]
    for kind in ("customers", "promotions"):
        kept[f"snp_{kind}"] = ("snapshots", [*columns[f"int_{kind}_tracked"], *meta])
    return kept


def assert_equal_rows(target: SnowflakeTarget, project: DbtProject, stage: Stage, *names: str) -> None:
    """Fail unless the relations hold the same rows on the emulator and in the lake."""
    known = relations(project)
    for name in names or known:
        schema, columns = known[name]
        here = sorted(stage.query(as_text(f"{schema}.{name}", columns)), key=repr)
        there = target.rows(f"{schema}.{name}", columns)
        assert len(there) == len(here) > 0, name
        assert there == here, name


def test_the_first_build_succeeds_with_every_test(first_run: Built) -> None:
    _, outcome, _ = first_run
    assert outcome.returncode == 0, outcome.output
    assert outcome.named("error", "fail", "warn", "skipped", "runtime error") == set()
    kinds = {node.split(".")[0] for node in outcome.statuses}
    assert {"model", "snapshot", "test", "unit_test"} <= kinds


def test_the_first_build_makes_the_rows_that_ducklake_makes(
    target: SnowflakeTarget, project: DbtProject, first_run: Built
) -> None:
    assert_equal_rows(target, project, first_run[0])


def test_what_is_listed_as_beyond_the_emulator_still_is(target: SnowflakeTarget, first_run: Built) -> None:
    outcome, _ = target.run("test", "--select", *NOT_ON_FAKESNOW)
    said = {node.split(".")[-1]: message for node, message in outcome.messages.items()}
    assert NOT_ON_FAKESNOW.keys() <= said.keys()
    for node, reason in NOT_ON_FAKESNOW.items():
        assert reason in said[node], f"{node} runs by now: take it out of NOT_ON_FAKESNOW"


def test_a_day_of_changes_makes_the_rows_that_ducklake_makes(
    target: SnowflakeTarget, project: DbtProject, second_run: Built
) -> None:
    stage, outcome, _ = second_run
    assert outcome.returncode == 0, outcome.output
    assert_equal_rows(target, project, stage)


def test_a_delete_that_was_none_makes_the_histories_that_ducklake_makes(
    target: SnowflakeTarget, project: DbtProject, third_run: Built
) -> None:
    stage, outcome, _ = third_run
    assert outcome.returncode == 0, outcome.output
    assert_equal_rows(target, project, stage, *REBUILT_LAST)


def test_the_sql_of_a_second_run_is_the_golden_one(
    project: DbtProject, second_run: Built, third_run: Built
) -> None:
    """The third run is kept for the snapshots alone, which take a delete back there."""
    histories = {f"{name}_revived": third_run[2][name] for name in ("snp_customers", "snp_promotions")}
    sent = {**second_run[2], **histories}
    if os.environ.get("RETAKE_GOLDEN"):
        for path in GOLDEN.glob("*.sql"):
            path.unlink()
        for name, sql in sent.items():
            (GOLDEN / f"{name}.sql").write_text(sql)
    golden = {path.stem: path.read_text() for path in GOLDEN.glob("*.sql")}
    built = {
        node["name"]
        for node in project.manifest()["nodes"].values()
        if node["resource_type"] in ("model", "snapshot")
    }
    assert golden.keys() == built | histories.keys()
    for name, sql in sent.items():
        assert sql == golden[name], f"{name}: take the golden files anew when this is meant"


def test_the_golden_sql_is_snowflakes_by_sqlglots_grammar() -> None:
    files = sorted(map(str, GOLDEN.glob("*.sql")))
    command = [PYTHON, HERE / "snowflake_grammar.py", *files]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "{}\n"


def test_the_golden_sql_calls_only_functions_that_snowflake_documents() -> None:
    """The emulator would also run what only DuckDB has."""
    called = set()
    for path in GOLDEN.glob("*.sql"):
        sql = re.sub(r"--.*|'[^']*'", "''", path.read_text())
        called |= set(re.findall(r"\b([a-z_0-9]+)\(", sql.lower()))
    assert called - TYPES == FUNCTIONS
