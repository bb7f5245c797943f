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
    assert publisher.begin("run-3") == "running"
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


def test_a_failed_build_is_left_until_another_run_begins(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    publisher.begin("run-1")
    publisher.publish("run-1", ["fct_sales"])
    publisher.begin("run-2")
    lake_connection.execute("insert into build.fct_sales values (2)")
    publisher.leave("run-2")
    assert publisher.failed() == "run-2"
    assert rows(lake, "build.fct_sales") == [(1,), (2,)]
    assert rows(lake, "marts.fct_sales") == [(1,)]
    assert publisher.begin("run-3") == "failed"
    assert publisher.failed() is None
    assert rows(lake, "build.fct_sales") == [(1,)]


def test_a_retry_takes_a_failed_build_up_where_it_stands_and_publishes_it(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    for _ in range(2):
        publisher.begin("run-1") if publisher.failed() is None else publisher.go_on("run-1", "run-1")
        lake_connection.execute("insert into build.fct_sales values (2)")
        publisher.leave("run-1")
    # A run that calls `transform` gives each attempt a run of its own.
    publisher.go_on("run-1", "run-2")
    assert publisher.failed() is None
    publisher.publish("run-2", ["fct_sales"])
    assert rows(lake, "marts.fct_sales") == [(1,), (2,), (2,)]
    attempts = lake_connection.execute("select run, state from ops.builds order by started_at").fetchall()
    assert attempts == [("run-1", "continued"), ("run-1", "continued"), ("run-2", "published")]


@pytest.mark.thorough
def test_a_failed_build_reverts_to_the_last_published_set_also_after_a_rollback(
    publisher: DuckLakePublisher, lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    for number in (2, 3):
        publisher.begin(f"run-{number}")
        publisher.publish(f"run-{number}", ["fct_sales"])
        lake_connection.execute(f"insert into build.fct_sales values ({number})")
    publisher.begin("run-4")
    publisher.leave("run-4")
    publisher.rollback()
    assert rows(lake, "marts.fct_sales") == [(1,)]
    publisher.begin("run-5")
    assert rows(lake, "build.fct_sales") == [(1,), (2,)]
    assert rows(lake, "marts.fct_sales") == [(1,)]


NEW_DATA = (
    "insert into raw_crm.orders values (1)",
    "insert into raw_crm.orders select range from range(1000)",
    "update raw_crm.orders set n = 7 where n = 3",
    "delete from raw_crm.orders where n = 4",
    "alter table raw_crm.orders add column more int",
    "create table raw_crm.__floe_repairs_orders (n int)",
    "create view raw_crm.seen as select 1 as n",
    "drop table raw_crm.late",
    "truncate table raw_crm.orders",
    "create or replace table raw_crm.orders as select 3 as n",
)
NO_NEW_DATA = (
    "select 1",
    "call ducklake_merge_adjacent_files('lake', 'orders', schema => 'raw_crm')",
    "call ducklake_flush_inlined_data('lake')",
    "insert into build.fct_sales values (2)",
    "insert into raw_other.orders values (2)",
)


@pytest.mark.thorough
def test_data_that_came_since_a_build_began_are_noticed_and_nothing_else(
    publisher: DuckLakePublisher, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    lake_connection.execute(
        "create schema raw_crm; create schema raw_other; create table raw_other.orders (n int);"
        "create table raw_crm.orders (n int); create table raw_crm.late (n int);"
        "insert into raw_crm.orders values (3)"
    )
    for number in range(3):
        lake_connection.execute(f"insert into raw_crm.orders select range + {number} from range(1000)")
    found: dict[str, bool] = {}
    for change in (*NO_NEW_DATA, *NEW_DATA):
        publisher.begin(change)
        lake_connection.execute(change)
        publisher.leave(change)
        # Also when a second attempt has failed, the data are those of the first.
        publisher.go_on(change, "again")
        publisher.leave("again")
        found[change] = publisher.has_new_data("again", {"raw_crm", "raw_never_made"})
        lake_connection.execute("delete from ops.builds")
    assert found == dict.fromkeys(NO_NEW_DATA, False) | dict.fromkeys(NEW_DATA, True)


def test_data_count_as_new_once_the_versions_since_have_ended(
    publisher: DuckLakePublisher, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    publisher.begin("run-1")
    lake_connection.execute("insert into build.fct_sales values (2)")
    publisher.leave("run-1")
    assert not publisher.has_new_data("run-1", {"raw_crm"})
    began = lake_connection.execute("select began_with from ops.builds").fetchall()[0][0]
    lake_connection.execute(f"call ducklake_expire_snapshots('lake', versions => [{began + 1}])")
    assert publisher.has_new_data("run-1", {"raw_crm"})


def test_changes_are_those_of_data_since_the_build_began_and_of_its_own_tables_since_it_was_published(
    publisher: DuckLakePublisher, lake_connection: duckdb.DuckDBPyConnection
) -> None:
    def changes() -> set[tuple[str, str]]:
        found = publisher.changes({"raw_crm"}, {"build"})
        assert found is not None and found.publication_id == published.publication_id
        return set(found.relations)

    lake_connection.execute(
        "create schema raw_crm; create table raw_crm.orders (n int); create table raw_crm.Items (n int)"
    )
    assert publisher.changes({"raw_crm"}, {"build"}) is None
    publisher.begin("run-1")
    lake_connection.execute("insert into raw_crm.Items values (1); insert into build.fct_sales values (2)")
    published = publisher.publish("run-1", ["fct_sales"])
    found = publisher.changes({"raw_crm"}, {"build"})
    assert found is not None and found.published_version == published.version
    assert lake_connection.execute(
        f"select n from ducklake_table_changes('lake', 'raw_crm', 'Items', {found.began_with + 1},"
        f" {found.published_version})"
    ).fetchall() == [(1,)]
    # What came while it was built may not have been read.
    assert changes() == {("raw_crm", "items")}
    lake_connection.execute("insert into build.fct_sales values (3)")
    assert changes() == {("raw_crm", "items"), ("build", "fct_sales")}

    publisher.begin("run-2")
    published = publisher.publish("run-2", ["fct_sales"])
    assert changes() == set()
    lake_connection.execute("insert into raw_crm.orders values (1)")
    publisher.begin("run-3")
    publisher.restore("run-3")
    # Also after a rollback; what is restored is written anew.
    publisher.rollback()
    assert changes() == {("raw_crm", "orders"), ("build", "fct_sales")}

    lake_connection.execute(f"call ducklake_expire_snapshots('lake', versions => [{published.version + 1}])")
    assert publisher.changes({"raw_crm"}, {"build"}) is None
