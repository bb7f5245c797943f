"""The sample company beside a lake: its days, what reaches the raw layer, and the truth to compare with."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import duckdb

from blocks import reconciliations
from blocks.reconcile import Sides, reconcile_stream
from blocks.source_database import SourceDatabase
from blocks.warehouse_dialects import DUCKDB
from deployments.connection import load_declarations
from deployments.local.airbyte import worker
from deployments.local.airbyte.job_spec import JobSpec, PostgresAddress, StreamSpec
from deployments.local.airbyte.source_reader import SourceReader
from deployments.local.sample.event_log import RowChange, read_log
from deployments.local.sample.simulate import simulate
from deployments.local.sample.tables import CHANGING, CHANGING_RARELY, TABLES
from deployments.reconcile_plans import reconcile_plan
from lambda_csv_loader.ducklake import DuckLakeSettings, connect, sql_string
from tests.deployments.local.sample_databases import SampleDatabases

EXPECTED = Path(__file__).with_name("expected_marts.sql").read_text()
SEED = 11
# Rows of no other table are deleted or committed late.
RECONCILED = {"crm": ("customer_address", "customer"), "erp": ("catalog_sales", "web_sales")}
SYNCED = {source: tables + CHANGING_RARELY.get(source, ()) for source, tables in CHANGING.items()}


@dataclass
class Company:
    """The sample's databases, a lake whose raw layer follows them, and the truth at each run's cut-off.

    Args:
        databases: the sample, copied for this company.
        lake: where the raw layer is.
        folder: takes the event log, the files and the truth.
        delivered: by key, the stock files that have reached the raw layer.
    """

    databases: SampleDatabases
    lake: DuckLakeSettings
    folder: Path
    delivered: dict[str, bytes] = field(default_factory=dict)
    runs: int = 0
    _replayed: int = 0

    @property
    def log(self) -> Path:
        return self.folder / "events.jsonl"

    def play(self, days: int) -> date:
        """Play business days, deletions and rare events included; return the last one."""
        sources = self.databases.sources
        played = simulate(sources, self.databases.land, days, SEED, self.log, deletions=True, rare=True)
        return played.days[-1]

    def sync(self, tables: Mapping[str, tuple[str, ...]] = SYNCED) -> None:
        """Replicate tables of the databases by the stand-in's own engine."""
        for declared in load_declarations():
            address = PostgresAddress(
                host="127.0.0.1",
                port=self.databases.cluster.port,
                database=self.databases.names[declared.source],
                username="floe",
                password=self.databases.cluster.password,
            )
            streams = [
                StreamSpec(
                    namespace=stream.namespace,
                    name=stream.name,
                    sync_mode=stream.sync_mode,
                    cursor_field=stream.cursor,
                    primary_key=stream.primary_key,
                    selected_fields=None,
                    target_schema=declared.target_schema(stream),
                    target_table=stream.name,
                    emitted_before=0,
                    committed_before=0,
                )
                for stream in declared.streams
                if stream.name in tables[declared.source]
            ]
            job = JobSpec(
                job_id=self.runs + 1,
                attempt=0,
                job_type="sync",
                connection_id=declared.source,
                source=address,
                destination=self.lake,
                streams=streams,
            )
            with connect(self.lake) as connection:
                reader = SourceReader(connection, address, self.folder)
                failures = worker.sync_streams(job, connection, reader, lambda progress: None)
            assert not failures, failures

    def deliver(self, contents: Mapping[str, bytes], version: str) -> None:
        """Load stock files, as the loader does: each version of a file has an id of its own."""
        inbox = self.folder / version
        inbox.mkdir()
        for key, content in contents.items():
            (inbox / Path(key).name).write_bytes(content)
        self.delivered.update(contents)
        with connect(self.lake) as connection:
            connection.execute("create schema if not exists lake.raw_files")
            connection.execute(
                """
                create table if not exists lake.raw_files.inventory (
                    inv_date_sk bigint, inv_item_sk bigint, inv_warehouse_sk bigint,
                    inv_quantity_on_hand bigint, _file_id varchar, _file_row bigint, _loaded_at timestamptz
                )
                """
            )
            connection.execute(
                f"""
                insert into lake.raw_files.inventory
                select columns('inv_.*'), md5(filename), row_number() over (partition by filename), now()
                from read_csv({sql_string(inbox / "*.csv")}, filename = true)
                """
            )

    def reconcile(self) -> None:
        """Repair what the cursor has missed, deletes and late changes, as the flow `reconcile` does."""
        for declared in load_declarations():
            if declared.source not in RECONCILED:
                continue
            block = SourceDatabase(
                host="127.0.0.1",
                port=self.databases.cluster.port,
                database=self.databases.names[declared.source],
                user="floe",
                password=self.databases.cluster.password,
            )
            with block.connect() as source, connect(self.lake) as lake:
                reconciliations.prepare(lake)
                sides = Sides(declared.source, source, lake, DUCKDB)
                for stream in reconcile_plan(declared).streams:
                    if stream.name in RECONCILED[declared.source]:
                        reconcile_stream(sides, stream)

    def reckon(self) -> Path:
        """Replay the event log to its end and reckon what history and marts must be; return the database."""
        self.runs += 1
        path = self.folder / "truth.duckdb"
        with self._truth(path) as truth:
            events = list(read_log(self.log)) if self.log.exists() else []
            for event in events[self._replayed :]:
                if isinstance(event, RowChange):
                    _apply(truth, event)
            self._replayed = len(events)
            self._count_stock(truth)
            truth.execute("set TimeZone = 'UTC'")
            truth.execute(f"set variable run = {self.runs}")
            truth.execute(EXPECTED)
        return Path(shutil.copy(path, self.folder / f"truth_{self.runs}.duckdb"))

    def _truth(self, path: Path) -> duckdb.DuckDBPyConnection:
        """Open the company's tables as they were before the first day, and as events have changed them."""
        fresh = not path.exists()
        config = {"extension_directory": str(self.lake.extension_directory)}
        connection = duckdb.connect(str(path), config=config)
        if fresh:
            connection.execute("load postgres_scanner")
            for source, tables in TABLES.items():
                dsn = sql_string(self.databases.sources[source])
                connection.execute(f"attach {dsn} as source (type postgres, read_only)")
                for table in tables:
                    connection.execute(f"create table {table} as from source.public.{table}")
                connection.execute("detach source")
        return connection

    def _count_stock(self, truth: duckdb.DuckDBPyConnection) -> None:
        """Take what was counted on each day as it was delivered last."""
        folder = self.folder / f"stock_{self.runs}"
        folder.mkdir()
        for key, content in self.delivered.items():
            (folder / Path(key).name).write_bytes(content)
        truth.execute(f"create or replace table inventory as from read_csv({sql_string(folder / '*.csv')})")


@functools.cache
def _statement(operation: str, table: str, columns: tuple[str, ...], keys: tuple[str, ...]) -> str:
    matched = " and ".join(f"{key} = ?" for key in keys)
    if operation == "delete":
        return f"delete from {table} where {matched}"
    if operation == "update":
        return f"update {table} set {', '.join(f'{column} = ?' for column in columns)} where {matched}"
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' for _ in columns)})"


def _apply(truth: duckdb.DuckDBPyConnection, event: RowChange) -> None:
    after = dict(event.after or {})
    keys = {} if event.operation == "insert" else dict(event.key)
    statement = _statement(event.operation, event.table, tuple(after), tuple(keys))
    truth.execute(statement, [*after.values(), *keys.values()])
