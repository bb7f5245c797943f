"""Numbers that nobody here invented: TPC-DS queries on the raw layer and on the marts of the sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from company import Company
from simulated_runs import Run
from tpcds_queries import ON_MARTS, QUERIES

from deployments.local.sample.generate import generate
from deployments.local.sample.tables import TABLES
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from tests.conftest import Cluster
from tests.deployments.local.sample_databases import SampleDatabases

pytestmark = pytest.mark.thorough

RAW_LAYER = "lake.raw_crm,lake.raw_erp,lake.raw_accounting,lake.raw_files"
# At the smallest scale these find nothing, or a single null, which proves nothing.
EMPTY_AT_SMALLEST_SCALE = {30, 32, 37, 39, 41, 92}
EMPTY_AT_LARGER_SCALE = {37, 41}
LARGER_SCALE = 0.3


@pytest.fixture(scope="module")
def generated_tables(extension_directory: Path) -> duckdb.DuckDBPyConnection:
    """Freshly generated tables, which no part of Floe has touched."""
    return _generate(extension_directory, 0.01)


@pytest.fixture(scope="module")
def raw_layer(untouched: Run) -> duckdb.DuckDBPyConnection:
    """The raw layer of the untouched sample, by the tables' own names."""
    return _by_name(untouched.stage.connection.cursor(), RAW_LAYER)


@pytest.fixture(scope="module")
def marts(untouched: Run) -> duckdb.DuckDBPyConnection:
    """The marts of the untouched sample, by their own names."""
    return _by_name(untouched.stage.connection.cursor(), "lake.build")


@pytest.mark.parametrize("number", [n for n in QUERIES if n not in EMPTY_AT_SMALLEST_SCALE])
def test_the_raw_layer_answers_as_freshly_generated_tables(
    generated_tables: duckdb.DuckDBPyConnection, raw_layer: duckdb.DuckDBPyConnection, number: int
) -> None:
    answer = _answer(generated_tables, f"pragma tpcds({number})")
    assert any(value is not None for row in answer for value in row)
    assert _answer(raw_layer, _text(generated_tables, number)) == answer


@pytest.mark.parametrize("number", ON_MARTS)
def test_the_marts_answer_as_freshly_generated_tables(
    generated_tables: duckdb.DuckDBPyConnection, marts: duckdb.DuckDBPyConnection, number: int
) -> None:
    answer = _answer(generated_tables, f"pragma tpcds({number})")
    assert any(value is not None for row in answer for value in row)
    assert _answer(marts, ON_MARTS[number]) == answer


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_larger_raw_layer_answers_all_but_two_queries_as_freshly_generated_tables(
    cluster: Cluster, extension_directory: Path, tmp_path: Path, new_lake: Callable[[], DuckLakeSettings]
) -> None:
    company = Company(SampleDatabases.empty(cluster), new_lake(), tmp_path)
    generate(company.databases.sources, LARGER_SCALE, extension_directory, company.databases.land)
    company.sync(TABLES)
    company.deliver(company.databases.files, "first")
    fresh = _generate(extension_directory, LARGER_SCALE)
    with connect(company.lake) as connection:
        raw_layer = _by_name(connection, RAW_LAYER)
        for number in QUERIES:
            answer = _answer(fresh, f"pragma tpcds({number})")
            found = any(value is not None for row in answer for value in row)
            assert found == (number not in EMPTY_AT_LARGER_SCALE), number
            assert _answer(raw_layer, _text(fresh, number)) == answer, number
    company.databases.drop()


def _generate(extension_directory: Path, scale: float) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"extension_directory": str(extension_directory)})
    connection.execute("load tpcds")
    connection.execute("call dsdgen(sf => ?)", [scale])
    return connection


def _by_name(connection: duckdb.DuckDBPyConnection, schemas: str) -> duckdb.DuckDBPyConnection:
    connection.execute(f"set search_path = '{schemas}'")
    return connection


def _text(connection: duckdb.DuckDBPyConnection, number: int) -> str:
    row = connection.execute("select query from tpcds_queries() where query_nr = ?", [number]).fetchone()
    assert row is not None
    return str(row[0])


def _answer(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    """Return the rows in an order of their own: where a query's order leaves ties, any is right.

    Floats to ten digits: the last ones of a deviation depend on the order in which rows are added up.
    """
    rows = connection.execute(query).fetchall()
    rounded = [tuple(f"{v:.10g}" if isinstance(v, float) else v for v in row) for row in rows]
    return sorted(rounded, key=repr)
