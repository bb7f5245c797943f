"""kill -9 at every step of a load, then redelivery: exactly one copy, and nothing in between."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from file_stack import FileStack, next_second, python

from blocks.lake_upkeep import LakeUpkeep
from lambda_csv_loader.ducklake import DuckLakeSettings
from lambda_csv_loader.staging import IN_MEMORY

pytestmark = pytest.mark.chaos

# Dies at the n-th statement of the lake's connection, before or after it is executed.
AT_STATEMENT = """
import os, sys
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.ducklake import connect
from lambda_csv_loader.ducklake_writer import DuckLakeWriter
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import Bucket, ObjectRef
from lambda_csv_loader.settings import load_settings

settings, (bucket, key, number, when, in_memory) = load_settings(), sys.argv[1:]

class Mortal:
    def __init__(self, inner):
        self.inner, self.left = inner, int(number)
    def __getattr__(self, name):
        return getattr(self.inner, name)
    def execute(self, statement):
        self.left -= 1
        if self.left == 0 and when == "before":
            os.kill(os.getpid(), 9)
        result = self.inner.execute(statement)
        if self.left == 0:
            os.kill(os.getpid(), 9)
        return result

writer = DuckLakeWriter(settings.warehouse, open_connection=lambda: Mortal(connect(settings.warehouse)))
Loader(
    Bucket(settings.object_store), writer, Contracts(settings.datasets), in_memory=int(in_memory)
).load(ObjectRef(bucket, key))
"""

# Dies while the file is read, while rows are spilled, or around a call of the bucket.
AT_STEP = """
import os, sys
import lambda_csv_loader.staging as staging
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import Bucket, ObjectRef
from lambda_csv_loader.settings import load_settings
from lambda_csv_loader.writer import open_writer

settings, (bucket, key, step) = load_settings(), sys.argv[1:]
die = lambda: os.kill(os.getpid(), 9)

class Mortal(Bucket):
    def open(self, ref):
        stream = super().open(ref)
        if step == "read":
            stream.read(10)
            die()
        return stream
    def copy(self, ref, key):
        super().copy(ref, key)
        if step == "copied":
            die()
    def put(self, key, body, content_type):
        super().put(key, body, content_type)
        if step == "verdict":
            die()

class MortalStage(staging.Stage):
    def _spill(self):
        super()._spill()
        if step == "spill" and self._writer is not None:
            die()

if step == "spill":
    import lambda_csv_loader.validate as validate
    validate.Stage = MortalStage
Loader(Mortal(settings.object_store), open_writer(settings), Contracts(settings.datasets)).load(
    ObjectRef(bucket, key)
)
"""

COLUMNS = """
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint, nullable: false}
  - {name: body, type: varchar}
"""
MODES = {
    "append": "mode: append",
    "upsert": "mode: upsert\nprimary_key: [item]",
    "daily": "mode: snapshot\npartition_by: day_id",
    "whole": "mode: snapshot",
}


STAGED = [*((mode, "memory") for mode in MODES), ("append", "file"), ("whole", "file")]


@pytest.mark.parametrize(("mode", "staged"), STAGED)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_each_statement_of_publishing(stack: FileStack, mode: str, staged: str, when: str) -> None:
    dataset = f"{mode}_{staged}_{when}"
    stack.contract(dataset, MODES[mode] + COLUMNS)
    key = f"landing/{dataset}/f.csv"
    stack.put(key, "day_id,item,body\n1,0,first\n")
    stack.drain()
    for number in itertools.count(1):
        # Each round overwrites the file, so that rows are replaced as well as written.
        next_second()
        stack.put(key, f"day_id,item,body\n1,1,{number}\n1,2,{number}\n")
        in_memory = "0" if staged == "file" else str(IN_MEMORY)
        process = python(AT_STATEMENT, stack, stack.store.bucket, key, str(number), when, in_memory)
        output, _ = process.communicate(timeout=120)
        assert process.returncode in (0, -9), output
        there = stack.query(f"select item from raw_files.{dataset} where body = '{number}' order by 1")
        last = stack.query(f"select count(*) from ops.csv_files where key = '{key}' and status = 'loaded'")
        assert there in ([], [(1,), (2,)]), (number, there)
        if mode != "upsert":
            assert last == [(1,)], number
        stack.drain()
        copies = stack.query(
            f"select item, count(*) from raw_files.{dataset} where item > 0 group by 1 order by 1"
        )
        assert copies == [(1, 1), (2, 1)], number
        newest = stack.query(f"select distinct body from raw_files.{dataset} where item > 0")
        assert newest == [(str(number),)]
        if process.returncode == 0:
            # There is no such statement: all of them had their turn.
            assert number > 8
            break
    left = files_added(stack, dataset)
    assert bool(left) is (staged == "file")
    upkeep = LakeUpkeep(stack.warehouse)
    for file in left:
        os.utime(file, (0, 0))
    upkeep.delete_files()
    upkeep.close()
    # What is in use stays, and what the killed ones left goes.
    used = stack.query(
        "select count(*) from __ducklake_metadata_lake.ducklake_data_file as f "
        "inner join __ducklake_metadata_lake.ducklake_table as t on t.table_id = f.table_id "
        f"where t.table_name = '{dataset}' and f.path like '\\_loaded\\_at=%' escape '\\'"
    )
    assert used == [(len(files_added(stack, dataset)),)]
    assert stack.query(f"select count(*) from raw_files.{dataset} where item > 0") == [(2,)]
    assert len(left) > used[0][0] or staged == "memory"


def files_added(stack: FileStack, dataset: str) -> list[Path]:
    """Return the files of a dataset's table that were not written by the lake itself."""
    assert isinstance(stack.warehouse, DuckLakeSettings)
    return list((stack.warehouse.data_path / "raw_files" / dataset).rglob("_loaded_at=*/*.parquet"))


@pytest.mark.parametrize("step", ["read", "spill", "copied", "verdict"])
def test_killed_before_publishing(stack: FileStack, step: str) -> None:
    dataset = f"step_{step}"
    stack.contract(dataset, "mode: append" + COLUMNS)
    refused = step in ("copied", "verdict")
    line = "x" * 900_000
    rows = "x,1,a\n" if refused else "".join(f"1,{number},{line}\n" for number in range(25))
    key = stack.put(f"landing/{dataset}/f.csv", "day_id,item,body\n" + rows)
    process = python(AT_STEP, stack, stack.store.bucket, key, step)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == -9, output
    stack.query("select 1")
    stack.drain()
    ((status, _, loaded),) = stack.ledger(key)
    assert (status, loaded) == (("quarantined", 0) if refused else ("loaded", 25))
    if refused:
        verdict = stack.verdict(key)
        assert stack.object(verdict["file"]["copy"]).read() == b"day_id,item,body\nx,1,a\n"
