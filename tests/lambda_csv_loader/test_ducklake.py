"""DuckLake as the embedded warehouse."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lambda_csv_loader.ducklake import DuckLakeSettings, connect, duckdb_platform, libpq


def test_what_one_connection_commits_another_reads(lake: DuckLakeSettings) -> None:
    writer, reader = connect(lake), connect(lake, read_only=True)
    writer.execute("create schema raw_crm; create table raw_crm.customer as select 1 as id, 'Ada' as name")
    assert reader.execute("select * from raw_crm.customer").fetchall() == [(1, "Ada")]


def test_read_only_connection_cannot_write(lake: DuckLakeSettings) -> None:
    connect(lake).execute("create table t as select 1 as id")
    with pytest.raises(duckdb.Error, match="read-only"):
        connect(lake, read_only=True).execute("insert into t values (2)")


def test_platform_is_the_one_duckdb_names(lake_connection: duckdb.DuckDBPyConnection) -> None:
    assert lake_connection.execute("pragma platform").fetchall() == [(duckdb_platform(),)]


def test_connection_string_quotes_spaces_and_quotes() -> None:
    assert libpq("127.0.0.1", 5432, "o'hara", "my db") == (
        "host='127.0.0.1' port='5432' user='o\\'hara' dbname='my db'"
    )


def test_a_query_that_does_not_fit_into_the_allowed_memory_spills(
    lake: DuckLakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with connect(lake.model_copy(update={"memory_limit": "60MB"}), threads=1) as small:
        reader = small.cursor()
        reader.execute("select md5(range::text) as hash from range(1_000_000) order by hash")
        spilled = small.execute("select count(*) from duckdb_temporary_files()").fetchone()
        assert spilled and spilled[0] > 0
        assert len(reader.fetchall()) == 1_000_000
    assert list(tmp_path.glob(".tmp*")) == []
