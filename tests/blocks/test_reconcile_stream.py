"""What a sync by cursor misses is found, repaired and shown by staging; what is right is left alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks import reconciliations
from blocks.comparison import TooManyDifferences
from blocks.errors import ConfigurationError
from blocks.reconcile import DifferencesFound, Sides, TooManyDeletes
from tests.airbyte_engine import Engine, open_engine
from tests.conftest import Cluster
from tests.reconciling import Table, open_sides

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def engine(
    cluster: Cluster, extension_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    with open_engine(cluster, extension_directory, tmp_path_factory.mktemp("reconcile")) as engine:
        yield engine


@pytest.fixture(scope="module")
def sides(engine: Engine) -> Iterator[Sides]:
    with open_sides(engine) as sides:
        yield sides


NewTable = Callable[..., Table]


@pytest.fixture
def new_table(engine: Engine, sides: Sides) -> NewTable:
    """Return a function that makes a table `(id, v, seen)` with rows 1 to 9, synced once."""

    def make(
        columns: str = "id int primary key, v text, seen int",
        rows: str = "select i, 'v' || i, i * 10 from generate_series(1, 9) i",
        key: tuple[str, ...] = ("id",),
        cursor: str | None = "seen",
        name: str | None = None,
        **policy: Any,
    ) -> Table:
        table = Table(sides, engine, name or f"t{next(_numbers)}", list(key), cursor, policy)
        table.execute(f'create table "{table.name}" ({columns})')
        table.execute(f'insert into "{table.name}" {rows}')
        table.sync()
        return table

    return make


def test_a_table_that_is_right_is_left_alone(new_table: NewTable) -> None:
    table = new_table(compare="all")
    done = table.reconcile()
    assert (done.source_rows, done.warehouse_rows, done.newest_cursor) == (9, 9, "90")
    before = table.engine.versions()
    assert table.found() == {}
    # Only the comparison itself is remembered.
    assert table.engine.versions() == before + 1


def test_rows_committed_late_and_deletes_are_found_and_repaired(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"insert into {table.name} values (10, 'late', 55)")
    table.execute(f"delete from {table.name} where id in (3, 9)")
    table.sync()
    assert len(table.staged()) == 9
    assert table.found() == {"missing": 1, "deleted": 2, "repaired": 3}
    assert table.staged() == table.origin()
    assert table.found() == {}


def test_a_row_that_lacks_a_cursor_is_found(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"insert into {table.name} values (10, 'no cursor', null)")
    table.sync()
    assert table.found() == {"missing": 1, "repaired": 1}
    assert table.staged() == table.origin()


def test_a_row_newer_than_the_newest_replicated_one_is_not_yet_due(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"insert into {table.name} values (10, 'new', 91)")
    table.execute(f"update {table.name} set v = 'changed', seen = 92 where id = 4")
    assert table.found() == {"not_yet_due": 1}
    table.sync()
    assert table.found() == {}
    assert table.staged() == table.origin()


def test_a_key_that_changed_is_a_delete_and_a_row_of_its_own(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"update {table.name} set id = 100, seen = 91 where id = 5")
    table.sync()
    assert table.found() == {"deleted": 1, "repaired": 1}
    assert table.staged() == table.origin()


def test_a_change_that_left_the_cursor_alone_is_found_among_all_columns_only(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"update {table.name} set v = null where id = 5")
    table.sync()
    assert table.found() == {}
    table.policy["compare"] = "all"
    assert table.found() == {"stale": 1, "repaired": 1}
    assert table.staged() == table.origin()
    assert table.found() == {}


@pytest.mark.parametrize("cursor", ["seen = 1", "seen = null"], ids=["goes back", "becomes null"])
def test_a_cursor_that_is_older_than_the_replicated_one_wins_by_repair(
    new_table: NewTable, cursor: str
) -> None:
    table = new_table()
    table.execute(f"update {table.name} set v = 'older', {cursor} where id = 5")
    table.sync()
    assert table.found() == {"stale": 1, "repaired": 1}
    assert table.staged() == table.origin()
    assert table.found() == {}


def test_a_row_that_changes_after_its_repair_wins_by_itself(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"update {table.name} set v = 'repaired', seen = 1 where id = 5")
    table.execute(f"delete from {table.name} where id = 6")
    table.execute(f"insert into {table.name} values (10, 'late', 2)")
    assert table.found() == {"missing": 1, "stale": 1, "deleted": 1, "repaired": 3}
    table.execute(f"update {table.name} set v = 'and later', seen = 100 where id in (5, 10)")
    table.execute(f"insert into {table.name} values (6, 'back', 101)")
    table.sync()
    assert table.staged() == table.origin()
    assert table.found() == {}


def test_a_deleted_row_that_comes_back_with_an_older_cursor_is_there_again(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"delete from {table.name} where id = 5")
    assert table.found() == {"deleted": 1, "repaired": 1}
    table.execute(f"insert into {table.name} values (5, 'back', 3)")
    table.sync()
    assert table.found() == {"missing": 1, "repaired": 1}
    assert table.staged() == table.origin()
    table.execute(f"delete from {table.name} where id = 5")
    assert table.found() == {"deleted": 1, "repaired": 1}
    assert table.staged() == table.origin()
    assert table.found() == {}


def test_a_wrong_repair_heals_itself(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"update {table.name} set seen = 1 where id = 5")
    table.found()
    table.engine.lake.execute(
        f"update raw_test.__floe_repairs_{table.name} set _floe_repair_action = 'delete'"
    )
    assert len(table.staged()) == 8
    assert table.found() == {"missing": 1, "repaired": 1}
    assert table.staged() == table.origin()


def test_a_column_that_raw_gains_after_a_repair_is_shown(new_table: NewTable) -> None:
    table = new_table(compare="all")
    table.execute(f"insert into {table.name} values (10, 'late', 2)")
    table.found()
    table.execute(f"alter table {table.name} add column extra numeric(9,2) default 1.5")
    table.execute(f"update {table.name} set seen = 99 where id = 1")
    table.sync()
    assert {row[0]: row[3] for row in table.staged()}[10] is None
    table.found()
    assert table.staged() == table.origin()
    assert table.found() == {}


def test_keys_of_several_columns_with_odd_names(new_table: NewTable) -> None:
    table = new_table(
        '"Order" int, "select" text, "a;""b" date, v text, "Seen At" timestamptz,'
        ' primary key ("Order", "select", "a;""b")',
        "select i % 3, chr(64 + i) || ';' || E'\\\\' || '''', date '2020-01-01' + i, 'v',"
        " timestamptz '2020-01-01 12:00:00.123456+02' + i * interval '1 day' from generate_series(1, 9) i",
        key=("Order", "select", 'a;"b'),
        cursor="Seen At",
        name="Odd Näme; --",
    )
    table.execute(f"""update "{table.name}" set "select" = '', "Seen At" = '2019-01-01' where "Order" = 1""")
    assert table.found() == {"missing": 3, "deleted": 3, "repaired": 6}
    assert table.staged(order="1, 2, 3") == table.origin(order="1, 2, 3")
    assert table.found() == {}


def test_the_newest_row_counts_where_the_declared_key_is_not_unique(new_table: NewTable) -> None:
    table = new_table(
        "id int, v text, seen int", "select i / 2, 'v' || i, i * 10 from generate_series(1, 9) i"
    )
    table.policy["compare"] = "all"
    assert table.found() == {}
    table.execute(f"delete from {table.name} where seen = 70")
    table.execute(f"insert into {table.name} values (3, 'earlier', 5), (8, 'late', 5), (8, 'latest', 6)")
    assert table.found() == {"missing": 1, "stale": 1, "repaired": 2}
    assert (8, "latest", 6) in table.staged()
    assert (3, "v6", 60) in table.staged()


# Streams that are read as a whole ------------------------------------------------------------------


def test_a_stream_read_as_a_whole_differs_only_if_it_was_synced_and_has_not_changed(
    new_table: NewTable,
) -> None:
    table = new_table(cursor=None)
    table.execute(f"delete from {table.name} where id = 1")
    table.execute("select pg_stat_force_next_flush()")
    assert table.found() == {"not_yet_due": 1}
    assert table.found() == {"not_yet_due": 1}
    table.sync()
    assert table.found() == {}
    # Somebody breaks the replicated table; the next sync does not notice, since it is made not to happen.
    table.engine.lake.execute(f"delete from raw_test.{table.name} where id = 2")
    table.engine.lake.execute(f"insert into ops.syncs values ('test', '{table.name}', 'succeeded', now())")
    assert table.found() == {"missing": 1, "repaired": 1}
    assert table.staged() == table.origin()
    table.execute(f"update {table.name} set v = 'changed' where id = 2")
    table.sync()
    assert table.staged() == table.origin()


# Policies ------------------------------------------------------------------------------------------


def damaged(new_table: NewTable, **policy: Any) -> Table:
    """A table with one row missing, one stale and one deleted."""
    table = new_table(**policy)
    table.execute(f"insert into {table.name} values (10, 'late', 55)")
    table.execute(f"update {table.name} set seen = 5 where id = 2")
    table.execute(f"delete from {table.name} where id = 3")
    return table


def test_report_only_counts(new_table: NewTable) -> None:
    table = damaged(new_table, differences="report", deletes="report")
    before = table.staged()
    assert table.found() == {"missing": 1, "stale": 1, "deleted": 1}
    assert table.staged() == before


def test_fail_names_the_first_keys_after_counting(new_table: NewTable) -> None:
    table = damaged(new_table, differences="fail", deletes="repair")
    with pytest.raises(DifferencesFound) as raised:
        table.reconcile()
    assert raised.value.what == (
        f"test: public.{table.name} differs from its source: 1 missing: (id=10); 1 stale: (id=2)"
    )
    assert [row[0] for row in table.staged()] == [1, 2, 4, 5, 6, 7, 8, 9]
    counts = table.engine.lake.execute(
        "select missing, stale, deleted, repaired from ops.reconciliations"
        f" where stream = 'public.{table.name}'"
    ).fetchall()
    assert counts == [(1, 1, 1, 1)]


def test_deletes_can_be_ignored(new_table: NewTable) -> None:
    table = damaged(new_table, deletes="ignore")
    assert table.found() == {"missing": 1, "stale": 1, "repaired": 2}
    assert 3 in [row[0] for row in table.staged()]


def test_a_source_that_lost_too_much_is_not_believed(new_table: NewTable) -> None:
    many = "select i, 'v' || i, i * 10 from generate_series(1, 99) i"
    table = new_table(rows=many, largest_share_deleted=0.3)
    table.execute(f"delete from {table.name} where id > 69")
    table.execute(f"insert into {table.name} values (100, 'late', 55)")
    with pytest.raises(TooManyDeletes, match=r"30 of 99 rows .* \(id=70\), \(id=71\)") as raised:
        table.reconcile()
    assert raised.value.state == "nothing was written"
    assert len(table.staged()) == 99
    table.policy["largest_share_deleted"] = 0.5
    assert table.found() == {"missing": 1, "deleted": 30, "repaired": 31}


def test_tables_that_have_little_in_common_are_refreshed_not_repaired(
    new_table: NewTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = damaged(new_table)
    monkeypatch.setattr("blocks.comparison.MOST_DIFFERENCES", 2)
    before = table.staged()
    with pytest.raises(TooManyDifferences, match="in more than 2 rows") as raised:
        table.reconcile()
    assert raised.value.state == "nothing was repaired"
    assert table.staged() == before
    monkeypatch.setattr("blocks.comparison.MOST_DIFFERENCES", 3)
    assert table.found() == {"missing": 1, "stale": 1, "deleted": 1, "repaired": 3}


def test_rows_older_than_the_window_are_left_out(new_table: NewTable) -> None:
    table = new_table(
        "id int primary key, v text, seen timestamp",
        "select i, 'v', timestamp '2020-01-01' + i * interval '1 day' from generate_series(1, 9) i",
        window="P3D",
    )
    table.execute(f"delete from {table.name} where id in (2, 8)")
    table.execute(f"insert into {table.name} values (10, 'late', '2020-01-09'), (11, 'old', '2020-01-02')")
    done = table.reconcile()
    assert (done.missing, done.deleted, done.source_rows, done.warehouse_rows) == (1, 1, 4, 4)
    table.policy["window"] = None
    assert table.found() == {"missing": 1, "deleted": 1, "repaired": 2}
    assert table.staged() == table.origin()


def test_elt_leaves_out_what_was_compared_lately(new_table: NewTable) -> None:
    table = new_table(compare_every="P1D")
    now = datetime.now(UTC)
    assert table.is_due(now)
    table.reconcile()
    assert not table.is_due(now + timedelta(hours=23))
    assert table.is_due(now + timedelta(hours=25))


def test_a_window_that_was_asked_for_leaves_older_rows_to_the_comparison_that_is_due(
    new_table: NewTable,
) -> None:
    table = new_table(
        "id int primary key, v text, seen timestamp",
        "select i, 'v', timestamp '2020-01-01' + i * interval '1 day' from generate_series(1, 9) i",
        compare_every="P1D",
    )
    table.execute(f"delete from {table.name} where id in (2, 8)")
    done = table.reconcile(timedelta(days=3))
    assert (done.deleted, done.source_rows, done.asked_window_seconds) == (1, 3, 3 * 86400)
    assert table.is_due(datetime.now(UTC))
    done = table.reconcile()
    assert (done.deleted, done.asked_window_seconds) == (1, None)
    assert not table.is_due(datetime.now(UTC))


@pytest.mark.parametrize("cursor", ["seen", None])
def test_a_window_that_was_asked_for_is_left_out_where_the_cursor_has_no_time(
    new_table: NewTable, cursor: str | None
) -> None:
    table = new_table(cursor=cursor, compare_every="P1D")
    done = table.reconcile(timedelta(days=1))
    assert (done.source_rows, done.asked_window_seconds) == (9, None)
    assert not table.is_due(datetime.now(UTC))
    table.policy["window"] = "P9D"
    with pytest.raises(ConfigurationError, match="needs a cursor that is a date or a timestamp"):
        table.reconcile(timedelta(days=1))


def test_comparisons_that_an_earlier_floe_recorded_count(new_table: NewTable) -> None:
    table = new_table(compare_every="P1D")
    table.reconcile()
    lake = table.sides.database
    lake.execute("alter table ops.reconciliations drop column asked_window_seconds")
    reconciliations.prepare(lake)
    assert not table.is_due(datetime.now(UTC))
    assert table.reconcile().asked_window_seconds is None


# What cannot be compared ---------------------------------------------------------------------------


def test_a_table_that_was_never_synced_is_named(new_table: NewTable) -> None:
    table = new_table()
    table.engine.lake.execute(f"drop table raw_test.{table.name}")
    with pytest.raises(ConfigurationError, match=f"public.{table.name} was never synced"):
        table.reconcile()


def test_a_key_that_is_gone_from_the_source_is_named(new_table: NewTable) -> None:
    table = new_table()
    table.execute(f"alter table {table.name} rename column seen to changed")
    with pytest.raises(ConfigurationError, match="column seen is gone from the source"):
        table.reconcile()


def test_a_window_over_a_number_is_refused(new_table: NewTable) -> None:
    with pytest.raises(ConfigurationError, match="needs a cursor that is a date or a timestamp"):
        new_table(window="P1D").reconcile()


def test_an_empty_table_has_nothing_due(new_table: NewTable) -> None:
    table = new_table(rows="select 1, 'v', 1 where false")
    table.execute(f"insert into {table.name} values (1, 'new', 1)")
    assert table.found() == {}


# Cursors of every kind: oldest, late, newest, newer ------------------------------------------------------

CURSORS = {
    "bigint": ("-5", "0", "7", "10"),
    "numeric": ("-1.5", "2", "9.5", "100000000000000000000000000000"),
    "double precision": ("-1e300", "2", "9.5", "1e15"),
    "text": ("B", "Z", "a", "b"),
    "date": ("2019-12-31", "2020-01-01", "2020-01-09", "2020-01-10"),
    "timestamptz": ("2020-01-01+14", "2020-01-01+02", "2020-01-01+00", "2020-01-01 00:00:00.000001+00"),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("timestamptz", "text") else pytest.mark.thorough)
        for kind in CURSORS
    ],
)
def test_what_is_due_depends_on_the_order_of_the_cursors_type(new_table: NewTable, kind: str) -> None:
    oldest, late, newest, newer = CURSORS[kind]
    table = new_table(f"id int primary key, seen {kind}", f"values (1, '{oldest}'::{kind}), (2, '{newest}')")
    table.execute(f"insert into {table.name} values (3, '{late}'), (4, '{newer}')")
    done = table.reconcile()
    assert (done.missing, done.source_rows, [row[0] for row in table.staged("id")]) == (1, 3, [1, 2, 3])
    table.sync()
    assert table.found() == {}
    assert len(table.staged()) == 4


@pytest.mark.parametrize("kind", ["timestamptz", "double precision"])
def test_a_cursor_without_an_end_is_compared_like_none(new_table: NewTable, kind: str) -> None:
    first, second = ("2020-01-01", "2020-01-02") if kind == "timestamptz" else ("1", "2")
    table = new_table(
        f"id int primary key, seen {kind}", f"values (1, '{first}'::{kind}), (2, '{second}'), (3, 'infinity')"
    )
    assert table.found() == {}
    table.execute(f"insert into {table.name} values (4, 'infinity')")
    table.execute(f"delete from {table.name} where id = 3")
    assert table.found() == {"missing": 1, "deleted": 1, "repaired": 2}
    assert [row[0] for row in table.staged("id")] == [1, 2, 4]
    assert table.found() == {}
