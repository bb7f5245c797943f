"""Staged files that the lake takes over as they are: when it may, what it keeps, and what becomes of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from staged_files import BODY, ROWS, TABLE, Publisher, stock

from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.writer import TableMismatch, WarehouseUnavailable
from tests.conftest import Cluster


@pytest.fixture
def publisher(lake: DuckLakeSettings, tmp_path: Path) -> Publisher:
    return Publisher(lake, tmp_path)


class Connection:
    """A connection to the lake that does something else at one statement."""

    def __init__(self, lake: DuckLakeSettings, start: str, instead: Callable[[Any, str], Any]) -> None:
        self.inner, self.start, self.instead = connect(lake), start, instead

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def execute(self, statement: str) -> Any:
        if statement.startswith(self.start):
            self.start = "\0"
            return self.instead(self.inner, statement)
        return self.inner.execute(statement)


def test_the_staged_file_itself_is_in_the_lake_and_its_rows_have_the_time_of_the_ledger(
    publisher: Publisher,
) -> None:
    one, two = publisher.candidate(), publisher.candidate("n,note\n4,\n", "g.csv")
    staged = [each.staged.parquet for each in (one, two) if each.staged and each.staged.parquet]
    # It waited for long: by its age the upkeep could take it for left over before its commit comes.
    os.utime(staged[0], (0, 0))
    publisher.publish(one, two)
    files = publisher.added()
    assert {file.stat().st_ino for file in files} == {file.stat().st_ino for file in staged}
    assert all(file.stat().st_mtime > 0 for file in files)
    mask = os.umask(0o22)
    os.umask(mask)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666 & ~mask}
    assert publisher.rows() == [*ROWS, (4, None)]
    assert publisher.query(
        f"select count(*), count(distinct _loaded_at) from {TABLE} inner join lake.ops.csv_files"
        " on _file_id = file_id and _loaded_at = recorded_at"
    ) == [(4, 1)]


def test_a_file_whose_keys_came_twice_is_added_without_those_rows(publisher: Publisher) -> None:
    contract = stock(primary_key=["n"], reject_threshold=2)
    publisher.publish(publisher.candidate(BODY + "1,again\n", contract=contract), contract=contract)
    assert (publisher.rows(), len(publisher.added())) == (ROWS, 1)


@pytest.mark.parametrize(
    "change",
    [
        "add column more integer default 7",
        *(
            pytest.param(change, marks=pytest.mark.thorough)
            for change in (
                "alter column n set data type bigint",
                "alter column note set not null",
                "set partitioned by (n)",
                "set sorted by (n)",
            )
        ),
    ],
)
def test_where_adding_would_differ_the_rows_are_inserted(publisher: Publisher, change: str) -> None:
    publisher.publish(publisher.candidate())
    with connect(publisher.lake) as somebody:
        somebody.execute(f"alter table {TABLE} {change}")
    publisher.publish(publisher.candidate("n,note\n4,four\n", "g.csv"))
    assert publisher.rows() == [*ROWS, (4, "four")]
    assert len(publisher.added()) == 1
    if "more" in change:
        assert publisher.query(f"select more from {TABLE} where n = 4") == [(7,)]


@pytest.mark.thorough
def test_a_lake_that_says_how_its_files_are_written_writes_them_itself(
    publisher: Publisher, cluster: Cluster
) -> None:
    publisher.publish(publisher.candidate())
    with cluster.connect(publisher.lake.database) as catalog:
        catalog.execute("insert into ducklake_metadata (key, value) values ('parquet_compression', 'gzip')")
    publisher.publish(publisher.candidate("n,note\n4,four\n", "g.csv"))
    assert publisher.rows() == [*ROWS, (4, "four")]
    assert len(publisher.added()) == 1


def test_a_null_that_the_table_refuses_is_refused(publisher: Publisher) -> None:
    publisher.publish(publisher.candidate())
    with connect(publisher.lake) as somebody:
        somebody.execute(f"alter table {TABLE} alter column note set not null")
    with pytest.raises(TableMismatch):
        publisher.publish(publisher.candidate("n,note\n4,\n", "g.csv"))
    assert publisher.rows() == ROWS


@pytest.mark.thorough
def test_a_folder_that_reads_like_a_column_gives_no_column_its_value(
    lake: DuckLakeSettings, tmp_path: Path
) -> None:
    publisher = Publisher(lake.model_copy(update={"data_path": tmp_path / "n=9" / "[a]"}), tmp_path)
    publisher.publish(publisher.candidate())
    assert publisher.rows() == ROWS


@pytest.mark.thorough
def test_upserts_and_a_folder_with_a_space_and_a_percent_sign(lake: DuckLakeSettings, tmp_path: Path) -> None:
    publisher = Publisher(lake.model_copy(update={"data_path": tmp_path / "a %20'b"}), tmp_path)
    publisher.publish(publisher.candidate())
    assert (publisher.rows(), len(publisher.added())) == (ROWS, 1)
    contract = stock(mode="upsert", primary_key=["n"])
    publisher.publish(publisher.candidate("n,note\n3,newer\n4,new\n", "g.csv", contract), contract=contract)
    assert publisher.rows() == [*ROWS[:2], (3, "newer"), (4, "new")]


@pytest.mark.thorough
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_from_another_file_system_it_is_copied(lake: DuckLakeSettings) -> None:
    publisher = Publisher(lake, Path("/dev/shm"))
    candidate = publisher.candidate()
    publisher.publish(candidate)
    assert publisher.rows() == ROWS
    assert len(publisher.added()) == 1
    assert candidate.staged is not None
    candidate.staged.close()
    assert publisher.rows() == ROWS


def lose(connection: Any, statement: str) -> Any:
    raise duckdb.IOException("the connection is gone")


def do_and_lose(connection: Any, statement: str) -> Any:
    connection.execute(statement)
    raise duckdb.IOException("the connection is gone")


def test_what_fails_before_the_commit_leaves_no_file(lake: DuckLakeSettings, tmp_path: Path) -> None:
    failing = Publisher(lake, tmp_path, lambda: Connection(lake, "insert into ops.csv_files", lose))
    candidate = failing.candidate()
    with pytest.raises(WarehouseUnavailable):
        failing.publish(candidate)
    assert list(lake.data_path.rglob("_loaded_at=*")) == []
    publisher = Publisher(lake, tmp_path)
    publisher.publish(candidate)
    assert (publisher.rows(), len(publisher.added())) == (ROWS, 1)


def test_a_file_that_does_not_hold_what_was_staged_is_not_published(publisher: Publisher) -> None:
    candidate = publisher.candidate()
    assert candidate.staged is not None
    candidate.staged.rows += 1
    with pytest.raises(WarehouseUnavailable, match="file holds 3 rows where 4"):
        publisher.publish(candidate)
    assert publisher.added() == []


@pytest.mark.parametrize("committed", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_after_the_commit_was_sent_the_file_stays(
    lake: DuckLakeSettings, tmp_path: Path, committed: bool
) -> None:
    answer = do_and_lose if committed else lose
    # The first commits are of the tables.
    Publisher(lake, tmp_path).publish(Publisher(lake, tmp_path).candidate("n,note\n4,four\n", "g.csv"))
    losing = Publisher(lake, tmp_path, lambda: Connection(lake, "commit", answer))
    candidate = losing.candidate()
    with pytest.raises(WarehouseUnavailable):
        losing.publish(candidate)
    publisher = Publisher(lake, tmp_path)
    assert len(publisher.added()) == 2
    assert publisher.rows() == ([*ROWS, (4, "four")] if committed else [(4, "four")])
    (again,) = publisher.publish(candidate)
    assert again.known is committed
    assert publisher.rows() == [*ROWS, (4, "four")]


@pytest.mark.thorough
def test_each_try_has_a_file_and_a_time_of_its_own(lake: DuckLakeSettings, tmp_path: Path) -> None:
    def come_first(connection: Any, statement: str) -> Any:
        with connect(lake) as other:
            other.execute("update ops.datasets set publishes = publishes + 1 where dataset = 'stock'")
        return connection.execute(statement)

    publisher = Publisher(lake, tmp_path)
    publisher.publish(publisher.candidate("n,note\n4,four\n", "g.csv"))
    second = Publisher(lake, tmp_path, lambda: Connection(lake, "insert into ops.csv_files", come_first))
    second.publish(second.candidate())
    assert publisher.rows() == [*ROWS, (4, "four")]
    assert len(publisher.added()) == 3
    assert publisher.query(
        f"select count(*), count(distinct _loaded_at) from {TABLE} inner join lake.ops.csv_files"
        " on _file_id = file_id and _loaded_at = recorded_at"
    ) == [(4, 2)]


@pytest.mark.thorough
def test_added_rows_live_on_like_any_others(publisher: Publisher) -> None:
    for key in "fgh":
        numbers = range(ord(key) * 1000, ord(key) * 1000 + 500)
        publisher.publish(publisher.candidate("n,note\n" + "".join(f"{n},{key}\n" for n in numbers), key))
    with connect(publisher.lake) as lake:

        def seen(version: str = "") -> list[tuple[Any, ...]]:
            return lake.execute(
                f"select n, note, _file_id, _file_row, _loaded_at::varchar from {TABLE} {version} order by 1"
            ).fetchall()

        ((first,),) = lake.execute("select id from lake.current_snapshot()").fetchall()
        before = seen()
        assert len({row[4] for row in before}) == 3
        lake.execute(f"alter table {TABLE} add column later integer")
        lake.execute(f"update {TABLE} set note = 'new', later = 1 where n % 100 = 7")
        lake.execute(f"delete from {TABLE} where n % 2 = 0 and note <> 'h'")
        wanted = [
            (n, "new" if n % 100 == 7 else note, *rest) for n, note, *rest in before if n % 2 or note == "h"
        ]
        assert seen() == wanted
        options = "'lake', 'stock', schema => 'raw_files'"
        lake.execute(f"call ducklake_rewrite_data_files({options}, delete_threshold => 0.1)")
        lake.execute(f"call ducklake_merge_adjacent_files({options})")
        assert seen() == wanted
        assert seen(f"at (version => {first})") == before
        lake.execute("call ducklake_expire_snapshots('lake', older_than => now() + interval 1 hour)")
        lake.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
        assert seen() == wanted
