"""Upkeep of the lake: what goes, what stays, and that nobody who reads or writes meanwhile notices."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from staged_files import ROWS, TABLE, Publisher

from blocks.ducklake_publisher import DuckLakePublisher
from blocks.lake_upkeep import LakeUpkeep, TooYoung
from blocks.publication import NothingToRollBack
from deployments.local.airbyte.worker import without_conflict
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.writer import WarehouseUnavailable
from tests.conftest import Cluster

Rows = list[tuple[object, ...]]
Age = Callable[[float], None]


@pytest.fixture
def upkeep(lake: DuckLakeSettings) -> Iterator[LakeUpkeep]:
    keeper = LakeUpkeep(lake)
    yield keeper
    keeper.close()


@pytest.fixture
def age(cluster: Cluster, lake: DuckLakeSettings) -> Age:
    """Return a function that makes all that the lake has so much older."""

    def make_older(days: float) -> None:
        with cluster.connect(lake.database) as catalog:
            for table, column in (
                ("ducklake_snapshot", "snapshot_time"),
                ("ducklake_files_scheduled_for_deletion", "schedule_start"),
            ):
                catalog.execute(f"update {table} set {column} = {column} - interval '{days} days'".encode())
        for file in lake.data_path.rglob("*.parquet"):
            then = file.stat().st_mtime - days * 86400
            os.utime(file, (then, then))

    return make_older


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


class Reader:
    """Another process, as far as the lake can tell."""

    def __init__(self, lake: DuckLakeSettings) -> None:
        self.connection = connect(lake, read_only=True)

    def contents(self, schema: str) -> dict[str, Rows]:
        """Read every table or view of a schema."""
        names = self.connection.execute(
            "select table_name from information_schema.tables "
            f"where table_catalog = 'lake' and table_schema = '{schema}' order by 1"
        ).fetchall()
        return {
            name: self.connection.execute(f"select * from lake.{schema}.{name} order by all").fetchall()
            for (name,) in names
        }


@pytest.fixture
def reader(lake_connection: duckdb.DuckDBPyConnection, lake: DuckLakeSettings) -> Iterator[Reader]:
    other = Reader(lake)
    yield other
    other.connection.close()


def changed(now: dict[str, Rows], then: dict[str, Rows]) -> list[str]:
    """Return the names of what differs; pytest would take minutes to explain it row by row."""
    return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def tables(connection: duckdb.DuckDBPyConnection, schema: str) -> list[str]:
    found = connection.execute(
        "select table_name from information_schema.tables where table_type = 'BASE TABLE' "
        f"and table_catalog = 'lake' and table_schema = '{schema}' order by 1"
    ).fetchall()
    return [name for (name,) in found]


def change(connection: duckdb.DuckDBPyConnection, chance: random.Random) -> None:
    """Do to some tables what a day's work does: few and many rows, in place and anew."""
    for number in range(3):
        table = f"build.mart_{number}"
        what = chance.choice(["few", "many", "delete", "update", "merge", "anew", "column", "nothing"])
        first, size = chance.randrange(1000), chance.choice([3, 40, 400])
        if f"mart_{number}" not in tables(connection, "build") or what == "anew":
            connection.execute(
                f"create or replace table {table} as select i as id, 'a' || i as v from range({first}) r(i)"
            )
        elif what in ("few", "many"):
            size = 3 if what == "few" else 500
            connection.execute(
                f"insert into {table} (id, v) select i, 'n' || i from range({first}, {first + size}) r(i)"
            )
        elif what == "delete":
            connection.execute(f"delete from {table} where id between {first} and {first + size}")
        elif what == "update":
            connection.execute(f"update {table} set v = v || 'u' where id between {first} and {first + size}")
        elif what == "merge":
            connection.execute(
                f"merge into {table} as t using (select i as id from range({first}, {first + size}) r(i)) s"
                " on t.id = s.id when matched then update set v = 'm' "
                "when not matched then insert (id, v) values (s.id, 'new')"
            )
        elif what == "column":
            connection.execute(f"alter table {table} add column extra_{first} int")


def keep(upkeep: LakeUpkeep, age: Age) -> None:
    """Some days of upkeep, so that what the first one schedules for deletion is deleted."""
    for _ in range(2):
        age(10)
        upkeep.expire(days_ago(7))
        upkeep.compact()
        upkeep.delete_files()


@pytest.mark.parametrize(
    ("seed", "sets"), [(1, 3), *(pytest.param(seed, 6, marks=pytest.mark.thorough) for seed in (2, 3))]
)
def test_after_any_work_the_published_and_the_previous_set_read_as_before_and_the_way_back_works(
    lake: DuckLakeSettings,
    lake_connection: duckdb.DuckDBPyConnection,
    upkeep: LakeUpkeep,
    age: Age,
    reader: Reader,
    seed: int,
    sets: int,
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test wants the same numbers again
    publisher = DuckLakePublisher(lake_connection)
    lake_connection.execute("create schema build; create schema snapshots")
    published: list[dict[str, Rows]] = []
    for number in range(sets):
        for _ in range(chance.randrange(1, 6)):
            change(lake_connection, chance)
        publisher.begin(f"run-{number}")
        publisher.publish(f"run-{number}", tables(lake_connection, "build"))
        published.append(reader.contents("marts"))
        if sets > 3 and chance.random() < 0.5:
            keep(upkeep, age)
            assert changed(reader.contents("marts"), published[-1]) == []
    change(lake_connection, chance)
    build = reader.contents("build")
    lake_connection.execute("update ops.publications set published_at = published_at - interval 30 days")
    keep(upkeep, age)

    assert changed(reader.contents("marts"), published[-1]) == []
    assert changed(reader.contents("build"), build) == []
    publisher.rollback()
    assert changed(reader.contents("marts"), published[-2]) == []
    with pytest.raises(NothingToRollBack, match="gave up"):
        publisher.rollback()
    keep(upkeep, age)
    assert changed(reader.contents("marts"), published[-2]) == []
    publisher.restore("run-next")
    assert changed(reader.contents("build"), published[-1]) == []


@pytest.fixture
def worked(lake: DuckLakeSettings, lake_connection: duckdb.DuckDBPyConnection) -> DuckLakePublisher:
    """A lake with a published mart of 20,000 rows, replaced once, and a raw table of twelve small files."""
    lake_connection.execute("create schema build; create schema snapshots; create schema raw")
    publisher = DuckLakePublisher(lake_connection)
    for number in range(2):
        lake_connection.execute(
            "create or replace table build.mart as "
            f"select i as id, i * {number + 1} as v from range(20000) r(i)"
        )
        publisher.begin(f"run-{number}")
        publisher.publish(f"run-{number}", ["mart"])
    lake_connection.execute("create table raw.rows (id int, v int)")
    for number in range(12):
        lake_connection.execute(
            f"insert into raw.rows select i, 0 from range({number * 100}, {number * 100 + 100}) r(i)"
        )
    return publisher


def files(lake: DuckLakeSettings) -> int:
    return len(list(lake.data_path.rglob("*.parquet")))


def test_small_files_are_merged_and_what_nothing_needs_is_gone_a_day_later(
    worked: DuckLakePublisher, lake: DuckLakeSettings, upkeep: LakeUpkeep, age: Age, reader: Reader
) -> None:
    before, rows = files(lake), reader.contents("raw")
    age(10)
    expired = upkeep.expire(days_ago(7))
    assert (expired.sets, expired.versions > 10) == (0, True)
    assert upkeep.compact() == (12, 1, 0)
    deleted = upkeep.delete_files()
    assert (deleted.files, deleted.bytes, deleted.waiting) == (0, 0, 12)
    assert files(lake) == before + 1

    age(2)
    deleted = upkeep.delete_files()
    assert (deleted.files, deleted.bytes > 1000, deleted.waiting) == (12, True, 0)
    assert files(lake) == before - 11
    assert changed(reader.contents("raw"), rows) == []
    # Nothing is left to do.
    assert upkeep.compact() == (0, 0, 0)
    assert upkeep.delete_files() == (0, 0, 0, 0)


@pytest.mark.thorough
def test_somebody_who_holds_the_published_set_open_reads_on(
    worked: DuckLakePublisher,
    lake: DuckLakeSettings,
    lake_connection: duckdb.DuckDBPyConnection,
    upkeep: LakeUpkeep,
    age: Age,
    reader: Reader,
) -> None:
    age(10)
    reader.connection.execute("begin")
    half = reader.connection.cursor().execute("select v from lake.marts.mart order by id")
    first = half.fetchmany(100)
    seen, raw = reader.contents("marts"), reader.contents("raw")
    lake_connection.execute("create or replace table build.mart as select 1 as id, 1 as v")
    worked.begin("run-next")
    worked.publish("run-next", ["mart"])
    for _ in range(2):
        upkeep.expire(days_ago(7))
        upkeep.compact()
        upkeep.delete_files()
    assert changed(reader.contents("marts"), seen) == changed(reader.contents("raw"), raw) == []
    assert len(first) + len(half.fetchall()) == 20000


@pytest.mark.thorough
def test_a_sync_that_runs_meanwhile_loses_no_row_and_never_fails(
    worked: DuckLakePublisher, lake: DuckLakeSettings, upkeep: LakeUpkeep, age: Age, reader: Reader
) -> None:
    stop, failures, rounds = threading.Event(), [], []

    def sync() -> None:
        with connect(lake) as writer:
            while not stop.is_set() or len(rounds) < 5:
                number = len(rounds) + 1

                def once(number: int = number) -> None:
                    writer.execute("begin")
                    try:
                        writer.execute(
                            "merge into raw.rows as t"
                            " using (select i as id from range(50, 1250, 10) r(i)) as s "
                            f"on t.id = s.id when matched then update set v = {number} "
                            f"when not matched then insert values (s.id, {number})"
                        )
                        writer.execute("commit")
                    except BaseException:
                        with suppress(duckdb.Error):
                            writer.execute("rollback")
                        raise

                try:
                    without_conflict(once)
                except duckdb.Error as error:
                    failures.append(error)
                    return
                rounds.append(number)

    thread = threading.Thread(target=sync)
    thread.start()
    try:
        for _ in range(6):
            age(3)
            upkeep.expire(days_ago(1.5))
            upkeep.compact()
            upkeep.delete_files()
    finally:
        stop.set()
        thread.join(60)
    assert failures == []
    last = rounds[-1]
    written = [(number, last) for number in range(50, 1250, 10)]
    rest = [(number, 0) for number in range(1200) if number < 50 or number % 10]
    assert changed(reader.contents("raw"), {"rows": sorted(written + rest)}) == []


@pytest.mark.thorough
def test_files_of_a_transaction_that_is_still_open_stay(
    lake: DuckLakeSettings,
    lake_connection: duckdb.DuckDBPyConnection,
    upkeep: LakeUpkeep,
    reader: Reader,
) -> None:
    lake_connection.execute("create table kept (id int); begin; insert into kept from range(5000)")
    assert files(lake) == 1
    upkeep.delete_files()
    lake_connection.execute("commit")
    assert changed(reader.contents("main"), {"kept": [(number,) for number in range(5000)]}) == []


@pytest.mark.thorough
def test_a_file_that_no_version_names_goes_when_no_transaction_can_be_writing_it(
    worked: DuckLakePublisher, lake: DuckLakeSettings, upkeep: LakeUpkeep, age: Age
) -> None:
    killed = lake.data_path / "raw" / "rows" / "ducklake-of-a-killed-writer.parquet"
    killed.write_bytes(b"half a file")
    assert upkeep.delete_files().files == 0
    age(2)
    deleted = upkeep.delete_files()
    assert (deleted.files, deleted.bytes, killed.exists()) == (1, 11, False)


@pytest.mark.thorough
def test_an_upkeep_that_was_killed_between_a_file_and_its_record_goes_on(
    worked: DuckLakePublisher, lake: DuckLakeSettings, upkeep: LakeUpkeep, age: Age, reader: Reader
) -> None:
    rows = reader.contents("raw")
    old = set((lake.data_path / "raw" / "rows").glob("*.parquet"))
    upkeep.compact()
    age(2)
    next(iter(old)).unlink()
    assert upkeep.delete_files().files == 12
    assert changed(reader.contents("raw"), rows) == []
    assert upkeep.delete_files() == (0, 0, 0, 0)


@pytest.mark.thorough
def test_a_version_that_any_view_names_stays(
    worked: DuckLakePublisher,
    lake_connection: duckdb.DuckDBPyConnection,
    upkeep: LakeUpkeep,
    age: Age,
    reader: Reader,
) -> None:
    ((version,),) = lake_connection.execute("select id from lake.current_snapshot()").fetchall()
    lake_connection.execute(
        f"create schema mine; create view mine.then as from raw.rows at (version => {version});"
        "delete from raw.rows"
    )
    keep(upkeep, age)
    assert len(reader.contents("mine")["then"]) == 1200


def test_what_a_running_transaction_may_need_is_never_given_up(upkeep: LakeUpkeep) -> None:
    with pytest.raises(TooYoung, match="at least 1 day"):
        upkeep.expire(days_ago(0.5))


@pytest.mark.thorough
def test_dead_rows_of_the_catalog_are_vacuumed_when_they_are_many(
    worked: DuckLakePublisher, cluster: Cluster, lake: DuckLakeSettings, upkeep: LakeUpkeep
) -> None:
    with cluster.connect(lake.database) as catalog:
        catalog.execute(
            "insert into ducklake_metadata (key, value) select 'x', i from generate_series(1, 5000) i"
        )
        catalog.execute("delete from ducklake_metadata where key = 'x'")
    vacuumed = upkeep.vacuum()
    assert vacuumed.tables >= 1 and vacuumed.dead_rows >= 5000
    assert upkeep.vacuum() == (0, 0)


class LosesItsCommit:
    """A connection that is cut when it commits the rows of a file."""

    def __init__(self, lake: DuckLakeSettings) -> None:
        self.inner, self.files = connect(lake), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def execute(self, statement: str) -> Any:
        self.files |= statement.startswith("call ducklake_add_data_files")
        if self.files and statement == "commit":
            raise duckdb.IOException("the connection is gone")
        return self.inner.execute(statement)


def folders(lake: DuckLakeSettings) -> int:
    return len(list(lake.data_path.rglob("_loaded_at=*")))


def test_a_staged_file_whose_commit_never_came_goes_and_one_that_is_in_use_stays(
    lake: DuckLakeSettings, upkeep: LakeUpkeep, age: Age, tmp_path: Path
) -> None:
    cut = Publisher(lake, tmp_path, lambda: LosesItsCommit(lake))
    candidate = cut.candidate()
    with pytest.raises(WarehouseUnavailable):
        cut.publish(candidate)
    publisher = Publisher(lake, tmp_path)
    publisher.publish(candidate)
    of_a_killed_loader = lake.data_path / "raw_files" / "stock" / "_loaded_at=2026"
    of_a_killed_loader.mkdir()
    assert (upkeep.delete_files().files, len(publisher.added()), folders(lake)) == (0, 2, 3)
    age(2)
    os.utime(of_a_killed_loader, (0, 0))
    assert (upkeep.delete_files().files, len(publisher.added()), folders(lake)) == (1, 1, 1)
    assert publisher.rows() == ROWS


@pytest.mark.thorough
def test_staged_files_are_merged_like_any_others_and_go_with_their_folders(
    lake: DuckLakeSettings, upkeep: LakeUpkeep, age: Age, tmp_path: Path
) -> None:
    publisher = Publisher(lake, tmp_path)
    for key in "fgh":
        publisher.publish(publisher.candidate(f"n,note\n1,{key}\n", key))
    times = publisher.query(f"select _file_id, n, _loaded_at::text from {TABLE} order by all")
    assert len({moment for *_, moment in times}) == 3
    age(10)
    upkeep.expire(days_ago(7))
    assert upkeep.compact().merged >= 3
    age(2)
    assert upkeep.delete_files().files >= 3
    assert (publisher.added(), folders(lake)) == ([], 0)
    assert publisher.query(f"select _file_id, n, _loaded_at::text from {TABLE} order by all") == times
