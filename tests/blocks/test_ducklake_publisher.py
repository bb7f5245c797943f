"""Publishing as a set on DuckLake: what readers see, and what a failure leaves."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest

from blocks.ducklake_publisher import DuckLakePublisher
from blocks.publication import NothingToRollBack
from lambda_csv_loader.ducklake import DuckLakeSettings, connect


@pytest.fixture
def publisher(lake_connection: duckdb.DuckDBPyConnection) -> DuckLakePublisher:
    """A publisher on a lake with one built mart and one history table."""
    lake_connection.execute(
        "create schema build; create schema snapshots;"
        "create table build.fct_sales as select 1 as amount;"
        "create table snapshots.snp_customers as select 'Ada' as name"
    )
    return DuckLakePublisher(lake_connection)


def rows(lake: DuckLakeSettings, table: str) -> list[tuple[object, ...]]:
    """Read a table the way another process would."""
    reader = connect(lake, read_only=True)
    try:
        return reader.execute(f"select * from {table} order by all").fetchall()
    finally:
        reader.close()


def test_readers_see_the_published_set_while_the_next_one_is_built(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    publisher.begin("run-1")
    publisher.publish("run-1", ["fct_sales"])
    publisher.begin("run-2")
    lake_connection.execute("insert into build.fct_sales values (2)")
    assert rows(lake, "marts.fct_sales") == [(1,)]
    lake_connection.execute(
        "drop table build.fct_sales; create table build.fct_sales as select 7 as x, 8 as y"
    )
    assert rows(lake, "marts.fct_sales") == [(1,)]
    publisher.publish("run-2", ["fct_sales"])
    assert rows(lake, "marts.fct_sales") == [(7, 8)]


def test_a_mart_that_is_no_longer_built_disappears_with_the_next_publication(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    lake_connection.execute("create table build.old_mart as select 1 as x")
    publisher.publish("run-1", ["fct_sales", "old_mart"])
    publisher.publish("run-2", ["fct_sales"])
    with pytest.raises(duckdb.CatalogException):
        rows(lake, "marts.old_mart")


def test_restore_brings_back_changed_tables_and_drops_new_ones(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    publisher.begin("run-1")
    publisher.publish("run-1", ["fct_sales"])
    publisher.begin("run-2")
    lake_connection.execute(
        "update build.fct_sales set amount = -1; insert into snapshots.snp_customers values ('bad row');"
        "create table build.half_built as select 1 as x"
    )
    publisher.restore("run-2")
    assert rows(lake, "build.fct_sales") == [(1,)]
    assert rows(lake, "snapshots.snp_customers") == [("Ada",)]
    with pytest.raises(duckdb.CatalogException):
        rows(lake, "build.half_built")


def test_restore_before_any_publication_leaves_no_table(
    publisher: DuckLakePublisher, lake: DuckLakeSettings
) -> None:
    publisher.begin("run-1")
    publisher.restore("run-1")
    for table in ("build.fct_sales", "snapshots.snp_customers"):
        with pytest.raises(duckdb.CatalogException):
            rows(lake, table)


def test_a_build_that_ended_without_a_word_is_restored_by_the_next(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    publisher.begin("run-1")
    publisher.publish("run-1", ["fct_sales"])
    publisher.begin("run-killed")
    lake_connection.execute("delete from build.fct_sales")
    assert publisher.begin("run-3") is True
    assert rows(lake, "build.fct_sales") == [(1,)]
    assert rows(lake, "(select run, state from ops.builds)") == [
        ("run-1", "published"),
        ("run-3", "running"),
        ("run-killed", "restored"),
    ]


def test_rollback_shows_the_set_before_and_keeps_history(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    first = publisher.publish("run-1", ["fct_sales"])
    lake_connection.execute(
        "insert into build.fct_sales values (2); insert into snapshots.snp_customers values ('Bob')"
    )
    publisher.publish("run-2", ["fct_sales"])
    assert publisher.rollback().publication_id == first.publication_id
    assert rows(lake, "marts.fct_sales") == [(1,)]
    publisher.begin("run-3")
    publisher.restore("run-3")
    assert rows(lake, "build.fct_sales") == [(1,), (2,)]
    assert rows(lake, "snapshots.snp_customers") == [("Ada",), ("Bob",)]


def test_rollback_of_the_first_publication_is_refused(publisher: DuckLakePublisher) -> None:
    publisher.publish("run-1", ["fct_sales"])
    with pytest.raises(NothingToRollBack, match="published only once"):
        publisher.rollback()


def test_a_publication_that_fails_half_way_changes_nothing(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    publisher.publish("run-1", ["fct_sales"])
    lake_connection.execute("insert into build.fct_sales values (2)")
    with pytest.raises(duckdb.Error):
        publisher.publish("run-2", ["fct_sales", "never_built"])
    assert rows(lake, "marts.fct_sales") == [(1,)]
    current = publisher.current()
    assert current is not None and current.models == ("fct_sales",)


def test_old_sets_are_given_up_but_for_the_three_that_are_needed(
    publisher: DuckLakePublisher, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    ids = [publisher.publish(f"run-{number}", ["fct_sales"]).publication_id for number in range(4)]
    publisher.rollback()
    assert publisher.give_up(datetime(2000, 1, 1, tzinfo=UTC)) == 0
    assert publisher.give_up(datetime(2100, 1, 1, tzinfo=UTC)) == 1
    kept = lake_connection.execute("select publication_id from ops.publications where given_up_at is null")
    # The second is what a rollback would show now, the third what readers see, the fourth the last.
    assert {identity for (identity,) in kept.fetchall()} == set(ids[1:])
    assert publisher.rollback().publication_id == ids[1]
    with pytest.raises(NothingToRollBack, match="gave up the sets before"):
        publisher.rollback()
