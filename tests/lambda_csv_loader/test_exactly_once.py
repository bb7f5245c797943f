"""Exactly one copy, whatever is delivered twice, dies, conflicts or comes late."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from file_stack import FileStack, handler_environment, next_second, python

from lambda_csv_loader.contract import Contract, Contracts
from lambda_csv_loader.ducklake import connect
from lambda_csv_loader.ducklake_writer import DuckLakeWriter
from lambda_csv_loader.errors import PermanentError
from lambda_csv_loader.ledger import Candidate, Decision, StillCurrent
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import Bucket, ObjectRef, ObjectReplaced
from lambda_csv_loader.replay import replay
from lambda_csv_loader.writer import TableMismatch, WarehouseUnavailable, Writer
from tests.postgres_server import free_port

HEAD = "day_id,item,quantity\n"
COLUMNS = """
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint, nullable: false}
"""

MANY_LOADERS = """
import sys, threading, time
from pathlib import Path
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.settings import load_settings

settings, (bucket, key, starter) = load_settings(), sys.argv[1:]

def load():
    loader = Loader.from_settings(settings)
    for _ in range(8):
        Loader(loader.bucket, loader.writer, loader.contracts).load(ObjectRef(bucket, key))

while not Path(starter).exists():
    time.sleep(0.01)
threads = [threading.Thread(target=load) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

MANY_HANDLERS = """
import json, sys, time
from pathlib import Path
from lambda_csv_loader.handler import handler, loader

bucket, key, starter = sys.argv[1:]
told = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}
body = json.dumps({"Records": [told]})
records = [{"messageId": "m", "body": body, "eventSource": "aws:sqs", "attributes": {}}]
while not Path(starter).exists():
    time.sleep(0.01)
for _ in range(17):
    assert handler({"Records": records}, None) == {"batchItemFailures": []}
    loader()._settled.clear()
"""

KILLED_AT = """
import os, sys
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.ducklake import connect
from lambda_csv_loader.ducklake_writer import DuckLakeWriter
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import Bucket, ObjectRef
from lambda_csv_loader.settings import load_settings

settings, (bucket, key, point, when) = load_settings(), sys.argv[1:]

class Mortal:
    def __init__(self, inner):
        self.inner = inner
    def __getattr__(self, name):
        return getattr(self.inner, name)
    def execute(self, statement):
        hit = statement.startswith(point)
        if hit and when == "before":
            os.kill(os.getpid(), 9)
        result = self.inner.execute(statement)
        if hit:
            os.kill(os.getpid(), 9)
        return result

writer = DuckLakeWriter(settings.warehouse, open_connection=lambda: Mortal(connect(settings.warehouse)))
Loader(Bucket(settings.object_store), writer, Contracts(settings.datasets)).load(ObjectRef(bucket, key))
"""

KILLED_BEFORE_ACKNOWLEDGING = """
import os
from deployments.local.event_source import EventSource
from lambda_csv_loader.handler import handler
from lambda_csv_loader.settings import load_settings

def handle_and_die(event, context):
    assert handler(event, context) == {"batchItemFailures": []}
    os.kill(os.getpid(), 9)

EventSource(load_settings().object_store, handle_and_die).poll()
"""


@pytest.fixture(scope="module", autouse=True)
def table(stack: FileStack) -> None:
    """The table is there, so that a kill meets the load itself."""
    stack.put("landing/stock/first.csv", HEAD + "1,1,1\n")
    stack.drain()


@pytest.fixture(scope="module")
def loader(stack: FileStack) -> Iterator[Loader]:
    made = stack.loader()
    yield made
    made.close()


def test_one_event_many_times_at_once_from_several_processes(stack: FileStack, tmp_path: Path) -> None:
    stack.contract("rush", "mode: append" + COLUMNS)
    key = stack.put("landing/rush/f.csv", "day_id,item\n" + "".join(f"1,{n}\n" for n in range(50)))
    starter = tmp_path / "go"
    processes = [python(MANY_LOADERS, stack, stack.store.bucket, key, str(starter)) for _ in range(3)]
    time.sleep(1)
    starter.touch()
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert stack.ledger(key) == [("loaded", None, 50)]
    assert stack.query("select count(*), count(distinct item) from raw_files.rush") == [(50, 50)]
    assert stack.query("select count(*) from ops.datasets where dataset = 'rush'") == [(1,)]
    stack.drain()


@pytest.mark.thorough
def test_one_event_fifty_times_through_the_handlers_of_several_processes(
    stack: FileStack, tmp_path: Path
) -> None:
    stack.contract("crowd", "mode: append" + COLUMNS)
    key = stack.put("landing/crowd/f.csv", "day_id,item\n" + "".join(f"1,{n}\n" for n in range(50)))
    starter = tmp_path / "go"
    processes = [python(MANY_HANDLERS, stack, stack.store.bucket, key, str(starter)) for _ in range(3)]
    time.sleep(1)
    starter.touch()
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert stack.ledger(key) == [("loaded", None, 50)]
    assert stack.query("select count(*), count(distinct item) from raw_files.crowd") == [(50, 50)]
    stack.drain()


def test_killed_at_any_statement_nothing_or_everything_is_there(stack: FileStack) -> None:
    points = {
        'insert into "raw_files"': "before",
        "insert into ops.csv_files": "before",
        "commit": "before",
        "commit ": "after",
    }
    keys = {point: f"landing/stock/kill-{number}.csv" for number, point in enumerate(points)}
    for number, key in enumerate(keys.values()):
        stack.put(key, HEAD + f"{100 + number},1,1\n{100 + number},2,1\n")
    processes = {
        point: python(KILLED_AT, stack, stack.store.bucket, key, point.strip(), points[point])
        for point, key in keys.items()
    }
    for point, process in processes.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == -9, (point, output)
    for point, key in keys.items():
        whole = [("loaded", None, 2)] if points[point] == "after" else []
        assert stack.ledger(key) == whole, point
    between = "from raw_files.stock where day_id between 100 and 199"
    count = f"select day_id, count(*) {between} group by all order by 1"
    assert stack.query(count) == [(103, 2)]
    stack.drain()
    assert all(stack.ledger(key) == [("loaded", None, 2)] for key in keys.values())
    assert stack.query(count) == [(100 + number, 2) for number in range(len(points))]


def test_54_killed_between_publishing_and_acknowledging(stack: FileStack) -> None:
    stack.sqs.set_queue_attributes(QueueUrl=stack.store.queue_url, Attributes={"VisibilityTimeout": "2"})
    key = stack.put("landing/stock/unacknowledged.csv", HEAD + "200,1,1\n")
    process = python(KILLED_BEFORE_ACKNOWLEDGING, stack)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -9, output
    assert stack.ledger(key) == [("loaded", None, 1)]
    assert stack.depths().waiting == 1
    deadline = time.monotonic() + 20
    while not stack.handle() and time.monotonic() < deadline:
        time.sleep(0.2)
    stack.sqs.set_queue_attributes(QueueUrl=stack.store.queue_url, Attributes={"VisibilityTimeout": "60"})
    assert stack.depths().waiting == 0
    assert stack.ledger(key) == [("loaded", None, 1)]
    assert stack.query("select count(*) from raw_files.stock where day_id = 200") == [(1,)]


def test_53_warehouse_down_for_a_while_loses_nothing_and_keeps_the_order(stack: FileStack) -> None:
    stack.contract("daily", "mode: snapshot\npartition_by: day_id" + COLUMNS)
    older = stack.put("landing/daily/a.csv", "day_id,item\n1,1\n")
    next_second()
    newer = stack.put("landing/daily/b.csv", "day_id,item\n1,2\n")
    away = FileStack(stack.store, stack.warehouse.model_copy(update={"port": free_port()}), stack.datasets)
    with handler_environment(away):
        assert away.handle() == 2
    assert stack.depths().waiting == 2
    with handler_environment(stack):
        stack.drain()
    assert stack.query("select item from raw_files.daily") == [(2,)]
    assert [status for status, *_ in stack.ledger(older) + stack.ledger(newer)] == ["superseded", "loaded"]


def test_connection_that_the_warehouse_cut_is_opened_again(
    stack: FileStack, loader: Loader, cluster: Any
) -> None:
    assert loader.load(stack.ref(stack.put("landing/stock/cut-1.csv", HEAD + "500,1,1\n"))).status == "loaded"
    with cluster.connect("postgres") as database:
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [stack.warehouse.database],
        )
    stack.forget_connection()
    key = stack.put("landing/stock/cut-2.csv", HEAD + "501,1,1\n")
    try:
        loader.load(stack.ref(key))
    except WarehouseUnavailable:
        loader.load(stack.ref(key))
    assert stack.ledger(key) == [("loaded", None, 1)]
    stack.lose_events()


def test_older_file_that_comes_late_does_not_replace_a_newer_one(stack: FileStack, loader: Loader) -> None:
    stack.contract("late", "mode: snapshot\npartition_by: day_id" + COLUMNS)
    older = stack.put("landing/late/a.csv", "day_id,item\n1,1\n")
    next_second()
    newer = stack.put("landing/late/b.csv", "day_id,item\n1,2\n")
    assert loader.load(stack.ref(newer)).status == "loaded"
    result = loader.load(stack.ref(older))
    assert (result.status, result.reason) == ("superseded", f"{newer} is newer and holds the same day_id")
    assert stack.query("select item from raw_files.late") == [(2,)]
    stack.drain()


def test_upsert_takes_the_newest_row_of_each_key(stack: FileStack, loader: Loader) -> None:
    stack.contract("prices", "mode: upsert\nprimary_key: [item]" + COLUMNS)
    keys = []
    for number, rows in enumerate(["1,10\n1,11\n", "2,11\n2,12\n", "3,12\n"]):
        next_second()
        keys.append(stack.put(f"landing/prices/{number}.csv", "day_id,item\n" + rows))
    for number in (0, 2, 1):
        assert loader.load(stack.ref(keys[number])).status == "loaded"
    assert stack.query("select item, day_id from raw_files.prices order by 1") == [(10, 1), (11, 2), (12, 3)]
    stack.drain()


def test_late_upsert_says_how_many_of_its_rows_were_needed(stack: FileStack, loader: Loader) -> None:
    stack.contract("fees", "mode: upsert\nprimary_key: [item]" + COLUMNS)
    older = stack.put("landing/fees/a.csv", "day_id,item\n1,10\n1,11\n")
    next_second()
    newer = stack.put("landing/fees/b.csv", "day_id,item\n2,10\n")
    assert [loader.load(stack.ref(key)).rows for key in (newer, older)] == [1, 1]
    assert stack.ledger(older) == [("loaded", None, 1)]
    stack.drain()


def test_copy_is_loaded_once_the_file_it_equals_is_overwritten(stack: FileStack, loader: Loader) -> None:
    stack.contract("twins", "mode: append" + COLUMNS)
    first = stack.put("landing/twins/a.csv", "day_id,item\n1,1\n")
    copy = stack.put("landing/twins/b.csv", "day_id,item\n1,1\n")
    assert [loader.load(stack.ref(key)).status for key in (first, copy)] == ["loaded", "skipped"]
    next_second()
    stack.put(first, "day_id,item\n2,2\n")
    loader.load(stack.ref(first))
    assert stack.ledger(copy) == [("loaded", None, 1)]
    assert stack.query("select day_id from raw_files.twins order by 1") == [(1,), (2,)]
    stack.drain()
    assert stack.query("select day_id from raw_files.twins order by 1") == [(1,), (2,)]


def test_same_bytes_put_again_count_as_the_newest(stack: FileStack, loader: Loader) -> None:
    stack.contract("again", "mode: snapshot\npartition_by: day_id" + COLUMNS)
    first = stack.put("landing/again/a.csv", "day_id,item\n1,1\n")
    loader.load(stack.ref(first))
    next_second()
    between = stack.put("landing/again/b.csv", "day_id,item\n1,2\n")
    next_second()
    stack.put(first, "day_id,item\n1,1\n")
    loader.load(stack.ref(first))
    assert loader.load(stack.ref(between)).status == "superseded"
    assert stack.query("select item from raw_files.again") == [(1,)]
    stack.drain()


def test_event_of_another_bucket_is_refused(loader: Loader) -> None:
    with pytest.raises(PermanentError, match="'elsewhere', this loader reads"):
        loader.load(ObjectRef("elsewhere", "landing/stock/f.csv"))


def test_one_file_that_the_table_refuses_does_not_hold_up_its_group(stack: FileStack, loader: Loader) -> None:
    stack.contract("mixed", "mode: append" + COLUMNS)
    loader.load(stack.ref(stack.put("landing/mixed/a.csv", "day_id,item\n1,1\n")))
    loose = COLUMNS.replace("name: item, type: bigint, nullable: false", "name: item, type: bigint")
    stack.contract("mixed", "mode: append" + loose)
    bad = stack.put("landing/mixed/b.csv", "day_id,item\n1,\n")
    good = stack.put("landing/mixed/c.csv", "day_id,item\n1,3\n")
    outcomes = loader.load_many([stack.ref(bad), stack.ref(good)])
    assert isinstance(outcomes[stack.ref(bad)], TableMismatch)
    assert stack.query("select item from raw_files.mixed order by 1") == [(1,), (3,)]
    stack.s3.delete_object(Bucket=stack.store.bucket, Key=bad)
    stack.drain()


class CountingConnection:
    """A lake's connection that counts its statements."""

    def __init__(self, inner: Any, said: list[str]) -> None:
        self._inner, self._said = inner, said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def execute(self, statement: str) -> Any:
        self._said.append(statement)
        return self._inner.execute(statement)


def test_duplicate_event_is_recognised_without_a_query(stack: FileStack) -> None:
    said: list[str] = []
    writer = DuckLakeWriter(
        stack.warehouse, open_connection=lambda: CountingConnection(connect(stack.warehouse, threads=1), said)
    )
    loader = Loader(Bucket(stack.store), writer, Contracts(stack.datasets))
    key = stack.put("landing/stock/quiet.csv", HEAD + "700,1,1\n")
    assert loader.load(stack.ref(key)).known is False
    asked = len(said)
    assert asked > 0
    assert [loader.load(stack.ref(key)).known for _ in range(3)] == [True] * 3
    assert len(said) == asked
    loader.close()
    stack.drain()


class BreakingConnection(CountingConnection):
    """A lake's connection that breaks while rows are written."""

    def execute(self, statement: str) -> Any:
        if statement.startswith('insert into "raw_files"'):
            raise duckdb.IOException("the server went away")
        return super().execute(statement)


def test_53_warehouse_that_breaks_while_rows_are_written_holds_nothing_of_them(stack: FileStack) -> None:
    key = stack.put("landing/stock/broken.csv", HEAD + "800,1,1\n")
    writer = DuckLakeWriter(
        stack.warehouse, open_connection=lambda: BreakingConnection(connect(stack.warehouse, threads=1), [])
    )
    loader = Loader(Bucket(stack.store), writer, Contracts(stack.datasets))
    with pytest.raises(WarehouseUnavailable, match="the server went away"):
        loader.load(stack.ref(key))
    loader.close()
    assert stack.ledger(key) == []
    assert stack.query("select count(*) from raw_files.stock where day_id = 800") == [(0,)]
    stack.drain()
    assert stack.ledger(key) == [("loaded", None, 1)]


class MovingBucket(Bucket):
    """A bucket in which the file is overwritten just before it is read, a few times."""

    def __init__(self, stack: FileStack, versions: list[str]) -> None:
        super().__init__(stack.store)
        self._stack, self._versions = stack, versions

    def open(self, ref: ObjectRef) -> Any:
        if self._versions:
            self._stack.put(ref.key, self._versions.pop(0))
        return super().open(ref)


@pytest.mark.parametrize("times", [1, 2, 3], ids=["once", "twice", "again-and-again"])
def test_52_file_that_changes_while_it_is_read_is_read_again(
    stack: FileStack, loader: Loader, times: int
) -> None:
    day = 900 + times
    versions = [HEAD + f"{day},1,{number}\n" for number in range(times + 1)]
    key = stack.put(f"landing/stock/moving-{times}.csv", versions[0])
    moving = Loader(MovingBucket(stack, versions[1:]), loader.writer, loader.contracts)
    if times < 3:
        assert moving.load(stack.ref(key)).status == "loaded"
    else:
        with pytest.raises(ObjectReplaced):
            moving.load(stack.ref(key))
        assert stack.ledger(key) == []
    stack.drain()
    assert stack.query(f"select quantity from raw_files.stock where day_id = {day}") == [(times,)]


class OverwritingWriter:
    """A warehouse so slow that the file is overwritten before its rows are published."""

    def __init__(self, inner: Writer, overwrite: Any) -> None:
        self._inner, self._overwrite = inner, overwrite

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def publish(
        self,
        dataset: str,
        contract: Contract | None,
        candidates: Sequence[Candidate],
        still_current: StillCurrent,
    ) -> list[Decision]:
        self._overwrite()
        return self._inner.publish(dataset, contract, candidates, still_current)


def test_file_overwritten_between_reading_and_publishing_is_not_published(
    stack: FileStack, loader: Loader
) -> None:
    key = stack.put("landing/stock/moving.csv", HEAD + "300,1,1\n")
    slow = OverwritingWriter(loader.writer, lambda: stack.put(key, HEAD + "300,1,2\n"))
    result = Loader(loader.bucket, slow, loader.contracts).load(stack.ref(key))  # type: ignore[arg-type]
    assert (result.status, result.reason) == ("superseded", "overwritten before it was published")
    stack.drain()
    assert stack.query("select quantity from raw_files.stock where day_id = 300") == [(2,)]


def test_contract_that_allows_what_the_table_refuses_is_told(stack: FileStack, loader: Loader) -> None:
    stack.contract("strict", "mode: append" + COLUMNS)
    loader.load(stack.ref(stack.put("landing/strict/a.csv", "day_id,item\n1,1\n")))
    loose = COLUMNS.replace("name: item, type: bigint, nullable: false", "name: item, type: bigint")
    stack.contract("strict", "mode: append" + loose)
    key = stack.put("landing/strict/b.csv", "day_id,item\n1,\n")
    with pytest.raises(TableMismatch, match="refuses rows that the contract allows"):
        loader.load(stack.ref(key))
    stack.s3.delete_object(Bucket=stack.store.bucket, Key=key)
    stack.drain()


@pytest.mark.parametrize("deleted", [False, True], ids=["still-there", "only-the-copy-is-left"])
def test_replay_of_a_dataset(stack: FileStack, loader: Loader, deleted: bool) -> None:
    dataset = f"again_{int(deleted)}"
    stack.contract(dataset, "mode: append" + COLUMNS.replace("}\n", ", max: 5}\n"))
    key = stack.put(f"landing/{dataset}/f.csv", "day_id,item\n1,9\n")
    stack.drain()
    if deleted:
        stack.s3.delete_object(Bucket=stack.store.bucket, Key=key)
    stack.contract(dataset, "mode: append" + COLUMNS)
    assert [outcome.status for outcome in replay(loader, dataset).values()] == ["loaded"]  # type: ignore[union-attr]
    assert stack.ledger(key) == [("loaded", None, 1)]
    history = stack.query(f"select status, attempts from ops.csv_file_history where key = '{key}'")
    assert history == [("quarantined", 1)]
    assert stack.query(f"select attempts from ops.csv_files where key = '{key}'") == [(2,)]
    stack.drain()
    assert stack.query(f"select count(*) from raw_files.{dataset}") == [(1,)]


def test_replay_of_a_loaded_file_leaves_one_copy(stack: FileStack, loader: Loader) -> None:
    key = stack.put("landing/stock/twice.csv", HEAD + "400,1,1\n")
    file_id = loader.load(stack.ref(key)).file_id
    assert [outcome.status for outcome in replay(loader, file_id).values()] == ["loaded"]  # type: ignore[union-attr]
    assert stack.query("select count(*) from raw_files.stock where day_id = 400") == [(1,)]
    stack.drain()


def test_new_column_of_the_contract_is_added_to_the_table(stack: FileStack, loader: Loader) -> None:
    stack.contract("grows", "mode: append" + COLUMNS)
    loader.load(stack.ref(stack.put("landing/grows/a.csv", "day_id,item\n1,1\n")))
    stack.contract("grows", "mode: append" + COLUMNS + "  - {name: colour, type: varchar}\n")
    loader.load(stack.ref(stack.put("landing/grows/b.csv", "day_id,item,colour\n1,2,red\n")))
    assert stack.query("select item, colour from raw_files.grows order by 1") == [(1, None), (2, "red")]
    stack.drain()


def test_changed_type_is_refused_and_the_file_waits(stack: FileStack, loader: Loader) -> None:
    stack.contract("changes", "mode: append" + COLUMNS)
    loader.load(stack.ref(stack.put("landing/changes/a.csv", "day_id,item\n1,1\n")))
    stack.contract(
        "changes", "mode: append" + COLUMNS.replace("name: item, type: bigint", "name: item, type: date")
    )
    key = stack.put("landing/changes/b.csv", "day_id,item\n1,2003-01-02\n")
    with pytest.raises(TableMismatch, match=r"item is (bigint|number\(38,0\)), declared date"):
        loader.load(stack.ref(key))
    assert stack.ledger(key) == []
    stack.s3.delete_object(Bucket=stack.store.bucket, Key=key)
    stack.drain()


def test_file_called_like_a_verdict_is_kept_beside_it(stack: FileStack, loader: Loader) -> None:
    key = stack.put("landing/stock/verdict.json", HEAD + "x,1,1\n")
    loader.load(stack.ref(key))
    verdict = stack.verdict(key)
    assert stack.object(verdict["file"]["copy"]).read() == (HEAD + "x,1,1\n").encode()
    stack.drain()


def test_mended_version_ends_the_quarantine_of_the_bad_one(stack: FileStack, loader: Loader) -> None:
    stack.contract("mended", "mode: append" + COLUMNS)
    key = stack.put("landing/mended/f.csv", "day_id,item\nx,1\n")
    loader.load(stack.ref(key))
    next_second()
    stack.put(key, "day_id,item\n1,1\n")
    loader.load(stack.ref(key))
    assert stack.ledger(key) == [("superseded", f"replaced by {key}", 0), ("loaded", None, 1)]
    assert replay(loader, "mended") == {}
    stack.drain()
