"""What is particular to the Snowflake writer, over the real connector against the emulator.

The loader's other tests run on Snowflake in the `test_snowflake_*` modules beside this one; what the
emulator does not allow is listed in `NOT_ALLOWED`, there and here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from file_stack import FileStack, python
from snowflake_stack import Watched

from lambda_csv_loader.contract import Contract, Contracts
from lambda_csv_loader.ledger import LedgerRow
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import Bucket
from lambda_csv_loader.ops_tables import LEDGER
from lambda_csv_loader.settings import SnowflakeSettings
from lambda_csv_loader.snowflake_session import SnowflakeSession, open_snowflake
from lambda_csv_loader.snowflake_staging import CountsDiffer, tidy, write_parquet
from lambda_csv_loader.snowflake_tables import STAGE, STAGING, prepare_ops
from lambda_csv_loader.snowflake_writer import SnowflakeWriter
from lambda_csv_loader.staging import Stage
from lambda_csv_loader.writer import Writer

pytestmark = pytest.mark.thorough

NOT_ALLOWED = {
    "wrong keys, users and roles": "fakesnow verifies none; a small server answers as Snowflake documents",
    "grants": "fakesnow has none; `snowflake_grants.sql` runs on a real account only",
    "waiting for a lock": "DuckDB refuses the second update at once, where Snowflake lets it wait",
    "the end of a dead client's transaction": "fakesnow keeps it; the tests ask for it by hand",
    "REMOVE": "fakesnow's parser does not know it, so files left in the stage are only listed",
    "DDL that commits a transaction": "fakesnow rolls it back; the writer has no DDL inside one",
    "NUMBER beyond 18 digits without a scale": "NUMBER(38,0) is a BIGINT there",
    "QUERY_TAG, LOCK_TIMEOUT and the other parameters of the session": "fakesnow ignores them",
    "NULL_IF and the Parquet encodings that COPY reads": "DuckDB reads the file",
    "a null timestamp that is fetched as such": "it arrives as 1970, so the ledger fetches numbers",
}
HEAD = "day_id,item,quantity\n"
COLUMNS = """
columns:
  - {name: day_id, type: bigint, nullable: false}
  - {name: item, type: bigint}
"""


@pytest.fixture(scope="module")
def stack(snowflake_stack: FileStack) -> FileStack:
    """The emulated Snowflake, with a table that a first file made."""
    snowflake_stack.put("landing/stock/first.csv", HEAD + "1,1,1\n")
    snowflake_stack.drain()
    return snowflake_stack


@pytest.fixture(scope="module")
def loader(stack: FileStack) -> Iterator[Loader]:
    made = stack.loader()
    yield made
    made.close()


@pytest.fixture
def session(snowflake: SnowflakeSettings) -> Iterator[SnowflakeSession]:
    made = SnowflakeSession(lambda: open_snowflake(snowflake))
    yield made
    made.close()


def with_writer(stack: FileStack, writer: Writer) -> Loader:
    return Loader(Bucket(stack.store), writer, Contracts(stack.datasets))


def watched(stack: FileStack, watch: Any) -> Loader:
    assert isinstance(stack.warehouse, SnowflakeSettings)
    settings = stack.warehouse
    writer = SnowflakeWriter(settings, open_connection=lambda: Watched(open_snowflake(settings), watch))
    return with_writer(stack, writer)


def test_ledger_table_has_the_fields_of_a_ledger_row() -> None:
    assert tuple(LEDGER) == LedgerRow._fields


KILLED_AT = """
import json, os, sys
sys.path.insert(0, "tests")
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import Bucket, ObjectRef
from lambda_csv_loader.settings import load_settings
from lambda_csv_loader.snowflake_session import open_snowflake
from lambda_csv_loader.snowflake_writer import SnowflakeWriter
from snowflake_stack import Watched

settings, bucket = load_settings(), sys.argv[1]

def load_until(point, key):
    def die(moment, statement):
        if moment == "after" and statement.startswith(point):
            os.kill(os.getpid(), 9)

    writer = SnowflakeWriter(
        settings.warehouse, open_connection=lambda: Watched(open_snowflake(settings.warehouse), die)
    )
    Loader(Bucket(settings.object_store), writer, Contracts(settings.datasets)).load(ObjectRef(bucket, key))

for point, key in json.loads(sys.argv[2]):
    child = os.fork()
    if child == 0:
        load_until(point, key)
        os._exit(1)
    print(point, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
POINTS = {
    "copy into": False,
    'insert into "RAW_FILES"': False,
    "insert into ops.csv_files": False,
    "commit": True,
}
"""After which statement a loader dies, and whether the file is loaded by then."""


def test_killed_after_any_statement_nothing_or_everything_is_there(stack: FileStack, fakesnow: int) -> None:
    names = {point: f"kills_{number}" for number, point in enumerate(POINTS)}
    for name in names.values():
        stack.contract(name, "mode: append" + COLUMNS)
        # A first file makes the table and the dataset's row, so that the kill meets the load itself.
        stack.put(f"landing/{name}/first.csv", "day_id,item\n1,1\n")
    stack.drain()
    keys = {
        point: stack.put(f"landing/{name}/f.csv", "day_id,item\n2,1\n2,2\n") for point, name in names.items()
    }
    said, _ = python(KILLED_AT, stack, stack.store.bucket, json.dumps(list(keys.items()))).communicate()
    assert said.splitlines()[-len(POINTS) :] == [f"{point} -9" for point in POINTS]
    httpx.post(f"http://127.0.0.1:{fakesnow}/five-minutes-later", trust_env=False).raise_for_status()

    def rows(point: str) -> list[tuple[Any, ...]]:
        return stack.query(f"select count(*) from raw_files.{names[point]} where day_id = 2")

    for point, committed in POINTS.items():
        assert stack.ledger(keys[point]) == ([("loaded", None, 2)] if committed else []), point
        assert rows(point) == [(2 if committed else 0,)], point
    stack.drain()
    for point in POINTS:
        assert (stack.ledger(keys[point]), rows(point)) == ([("loaded", None, 2)], [(2,)]), point


def test_transaction_that_snowflake_ended_meanwhile_is_done_again(stack: FileStack, loader: Loader) -> None:
    """While the bucket was asked, another publisher got the lock and loaded the same file."""
    stack.contract("slow", "mode: append" + COLUMNS)
    loader.load(stack.ref(stack.put("landing/slow/first.csv", "day_id,item\n1,1\n")))
    key = stack.put("landing/slow/f.csv", "day_id,item\n2,1\n")
    times: list[str] = []

    def end_transaction(when: str, statement: str) -> None:
        # The ledger was read, so the bucket is asked next.
        if when == "after" and "from ops.csv_files where dataset = ? and (" in statement:
            times.append(statement)
            if len(times) == 1:
                slow.writer._session.execute("rollback")  # type: ignore[attr-defined]
                assert loader.load(stack.ref(key)).status == "loaded"

    slow = watched(stack, end_transaction)
    result = slow.load(stack.ref(key))
    slow.close()
    assert (len(times), result.known) == (2, True)
    assert stack.query("select count(*) from raw_files.slow where day_id = 2") == [(1,)]
    stack.lose_events()


def test_session_that_is_over_is_opened_again(stack: FileStack, loader: Loader, fakesnow: int) -> None:
    loader.load(stack.ref(stack.put("landing/stock/before.csv", HEAD + "500,1,1\n")))
    httpx.post(f"http://127.0.0.1:{fakesnow}/all-sessions-over", trust_env=False).raise_for_status()
    stack.forget_connection()
    key = stack.put("landing/stock/after.csv", HEAD + "501,1,1\n")
    assert loader.load(stack.ref(key)).status == "loaded"
    stack.lose_events()


def test_more_files_than_one_statement_lists(stack: FileStack, loader: Loader) -> None:
    result = loader.load(stack.ref(stack.put("landing/stock/many.csv", HEAD + "550,1,1\n")))
    asked = [*(f"unknown-{number}" for number in range(2500)), result.file_id]
    assert list(loader.writer.known("stock", asked)) == [result.file_id]
    stack.lose_events()


def test_no_ddl_runs_inside_a_transaction(stack: FileStack) -> None:
    said: list[str] = []
    loader = watched(stack, lambda when, statement: said.append(statement) if when == "before" else None)
    stack.contract("fresh", "mode: snapshot\npartition_by: day_id" + COLUMNS)
    for number in range(2):
        loader.load(stack.ref(stack.put(f"landing/fresh/{number}.csv", f"day_id,item\n1,{number}\n")))
    loader.close()
    inside = False
    for statement in said:
        inside = statement == "begin transaction" or (inside and statement not in ("commit", "rollback"))
        assert not (inside and statement.split()[0] in ("create", "alter", "drop", "put", "copy")), statement
    assert said.count("commit") >= 3
    stack.lose_events()


def test_rows_lost_on_the_way_are_noticed_and_nothing_is_published(stack: FileStack) -> None:
    def lose_a_row(when: str, statement: str) -> None:
        if when == "after" and statement.startswith("copy into"):
            table = statement.split()[2]
            loader.writer._session.execute(f"delete from {table} where _file_row = 2")  # type: ignore[attr-defined]

    loader = watched(stack, lose_a_row)
    key = stack.put("landing/stock/lossy.csv", HEAD + "600,1,1\n600,2,\n")
    with pytest.raises(CountsDiffer, match=r"passed 2 rows, COPY loaded 2.*\[2, 2, 2, 1, 2, 2\].*\[1, "):
        loader.load(stack.ref(key))
    loader.close()
    assert stack.ledger(key) == []
    assert stack.query("select count(*) from raw_files.stock where day_id = 600") == [(0,)]
    stack.lose_events()


def test_staging_leaves_nothing_behind(stack: FileStack, loader: Loader) -> None:
    loader.load(stack.ref(stack.put("landing/stock/clean.csv", HEAD + "700,1,1\n")))
    tables = f"select count(*) from information_schema.tables where table_schema = '{STAGING}'"
    before = stack.query(tables), stack.query(f"list @{STAGING}.{STAGE}")
    loader.load(stack.ref(stack.put("landing/stock/clean-2.csv", HEAD + "701,1,1\n")))
    assert (stack.query(tables), stack.query(f"list @{STAGING}.{STAGE}")) == before
    stack.lose_events()


def test_only_old_leftovers_of_loads_are_dropped(session: SnowflakeSession) -> None:
    old, young = (
        f"LOAD_{datetime.now(UTC) - timedelta(hours=hours):%Y%m%d%H%M%S}_{'A' * 16}" for hours in (25, 1)
    )
    session.run(lambda: prepare_ops(session))
    for name in (old, young, "LOAD_BY_A_PERSON"):
        session.run(lambda name=name: session.execute(f"create table {STAGING}.{name} (a number)"))
    tidy(session)
    rows = session.run(
        lambda: session.rows(
            "select table_name from information_schema.tables where table_schema = ? "
            "and startswith(table_name, 'LOAD_') order by 1",
            STAGING,
        )
    )
    kept = {name for (name,) in rows}
    assert old not in kept
    assert {young, "LOAD_BY_A_PERSON"} <= kept


EVERY_TYPE = [
    ("i", "integer", pa.int32(), -1),
    ("b", "bigint", pa.int64(), 2**62),
    ("n", "decimal(20,4)", pa.decimal128(20, 4), Decimal("12345678.1234")),
    ("x", "double", pa.float64(), 0.1),
    ("t", "boolean", pa.bool_(), True),
    ("d", "date", pa.date32(), date(2003, 1, 2)),
    ("ts", "timestamp", pa.timestamp("us"), datetime(2003, 1, 2, 3, 4, 5, 678901)),  # noqa: DTZ001
    ("tz", "timestamptz", pa.timestamp("us", "UTC"), datetime(2003, 1, 2, 3, 4, 5, 678901, UTC)),
    ("v", "varchar(5)", pa.string(), "\\N'\""),
]


def typed() -> Contract:
    columns = [{"name": name, "type": kind} for name, kind, *_ in EVERY_TYPE]
    return Contract.model_validate({"dataset": "typed", "owner": "o", "mode": "append", "columns": columns})


def test_parquet_is_written_as_old_readers_want_it(tmp_path: Path) -> None:
    stage = Stage(typed(), "id", tmp_path)
    columns = [pa.array([value, None], kind) for *_, kind, value in EVERY_TYPE]
    stage.add(columns, [1, 2])
    counts = write_parquet(tmp_path / "rows.parquet", typed(), [stage.finish()])
    assert counts == [2, *([1] * len(EVERY_TYPE)), 2, 2]
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    group = file.metadata.row_group(0)
    encodings = {name for number in range(group.num_columns) for name in group.column(number).encodings}
    assert encodings <= {"PLAIN", "RLE", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
    assert file.metadata.format_version == "1.0"
    assert file.schema_arrow.names[-3:] == ["V", "_FILE_ID", "_FILE_ROW"]
    first = file.read().to_pylist()[0]
    assert (first["TS"], first["TZ"]) == ("2003-01-02 03:04:05.678901", "2003-01-02 03:04:05.678901+00:00")


def test_spilled_rows_are_rewritten_and_all_there(stack: FileStack, loader: Loader) -> None:
    rows = "".join(f"{800_000 + number},{number},\n" for number in range(700_000))
    key = stack.put("landing/stock/large.csv", HEAD + rows)
    assert loader.load(stack.ref(key)).rows == 700_000
    assert stack.query(
        "select count(*), count(distinct item), min(_file_row), max(_file_row) from raw_files.stock "
        "where day_id >= 800000"
    ) == [(700_000, 700_000, 1, 700_000)]
    stack.lose_events()


def test_every_type_arrives_with_its_value(stack: FileStack, loader: Loader) -> None:
    lines = "".join(f"  - {{name: {name}, type: '{kind}'}}\n" for name, kind, *_ in EVERY_TYPE)
    stack.contract("typed", "mode: append\nnull_tokens: ['']\ncolumns:\n" + lines)
    head = ",".join(name for name, *_ in EVERY_TYPE)
    body = "-1,4611686018427387904,12345678.1234,0.1,true,2003-01-02,2003-01-02 03:04:05.678901,"
    body += '2003-01-02 05:04:05.678901+02:00,"\\N\'"""\n' + "," * (len(EVERY_TYPE) - 1) + "\n"
    loader.load(stack.ref(stack.put("landing/typed/f.csv", f"{head}\n{body}")))
    found = stack.query(
        "select i, b, n, x, t, d, date_part(epoch_microsecond, ts), date_part(epoch_microsecond, tz), v "
        "from raw_files.typed order by _file_row"
    )
    micros = 1_041_476_645_678_901
    assert found[0] == (*(value for *_, value in EVERY_TYPE[:6]), micros, micros, "\\N'\"")
    assert found[1] == (None,) * len(EVERY_TYPE)
    shown = stack.query(
        "select column_name, data_type from information_schema.columns where table_name = 'TYPED'"
    )
    assert {name: kind for name, kind in shown if name in ("I", "N", "TS", "TZ")} == {
        "I": "NUMBER",
        "N": "NUMBER",
        "TS": "TIMESTAMP_NTZ",
        "TZ": "TIMESTAMP_TZ",
    }
    stack.lose_events()
