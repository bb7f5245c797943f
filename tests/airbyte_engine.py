"""The stand-in's engine without its service: one source, one lake, one connection per test module."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from deployments.local.airbyte import worker
from deployments.local.airbyte.job_spec import (
    AttemptFailure,
    JobSpec,
    JobType,
    PostgresAddress,
    SchemaUpdates,
    StreamProgress,
    StreamSpec,
)
from deployments.local.airbyte.source_reader import SourceReader
from lambda_csv_loader.ducklake import DuckLakeSettings, connect, sql_name
from tests.conftest import Cluster

RAW = "raw_test"


@dataclass
class Engine:
    """Syncs single tables of a test database into a test lake, in this process."""

    source: psycopg.Connection
    lake: duckdb.DuckDBPyConnection
    reader: SourceReader
    address: PostgresAddress
    destination: DuckLakeSettings
    said: list[StreamProgress] = field(default_factory=list)
    _jobs: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def sync(self, table: str, mode: str = "incremental_deduped_history", **how: Any) -> StreamProgress:
        """Sync a table; fail if it failed.

        Args:
            table: name, in schema public.
            mode: of the sync.
            how: `cursor`, `key`, `selected`, `job_type`, `job_id`, `namespace`, `schema_updates`.
        """
        failures, done = self.attempt(table, mode, **how)
        assert not failures, failures
        assert done is not None
        return done

    def attempt(
        self,
        table: str,
        mode: str = "incremental_deduped_history",
        *,
        cursor: str | None = None,
        key: list[str] | None = None,
        selected: list[str] | None = None,
        job_type: JobType = "sync",
        job_id: int | None = None,
        namespace: str = "public",
        before: tuple[int, int] = (0, 0),
        schema_updates: SchemaUpdates = "propagate_columns",
    ) -> tuple[list[AttemptFailure], StreamProgress | None]:
        """Sync a table; return what went wrong and the stream's last report."""
        stream = StreamSpec(
            namespace=namespace,
            name=table,
            sync_mode=mode,  # type: ignore[arg-type]
            cursor_field=cursor,
            primary_key=key or [],
            selected_fields=selected,
            target_schema=RAW,
            target_table=table,
            emitted_before=before[0],
            committed_before=before[1],
        )
        job = JobSpec(
            job_id=job_id or next(self._jobs),
            attempt=0,
            job_type=job_type,
            connection_id=f"test-{table}",
            source=self.address,
            destination=self.destination,
            streams=[stream],
            schema_updates=schema_updates,
        )
        self.said.clear()
        failures = worker.sync_streams(job, self.lake, self.reader, self.said.append)
        done = [message for message in self.said if message.done]
        return failures, done[-1] if done else None

    def rows(self, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """Return rows of the replicated table, Airbyte's own columns left out of `*`."""
        wanted = "columns(c -> not starts_with(c, '_airbyte_'))" if columns == "*" else columns
        return self.lake.execute(
            f"select {wanted} from {sql_name('lake', RAW, table)} order by {order}"
        ).fetchall()

    def origin(self, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """Return rows of the source's table."""
        return self.source.execute(
            f"select {columns} from {sql_name(table)} order by {order}".encode()
        ).fetchall()

    def versions(self) -> int:
        """Return how many versions the lake has: one more for every commit that changed something."""
        row = self.lake.execute("select count(*) from lake.snapshots()").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def open_engine(
    cluster: Cluster, extension_directory: Path, scratch: Path, database: str | None = None
) -> Iterator[Engine]:
    """Open a source database (a new one unless it is named) and an empty lake with its files in `scratch`."""
    database = database or cluster.create_database("source")
    scratch.mkdir(exist_ok=True)
    address = PostgresAddress(
        host="127.0.0.1", port=cluster.port, database=database, username="floe", password=cluster.password
    )
    settings = DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("lake"),
        passfile=cluster.passfile,
        data_path=scratch / "lake",
        extension_directory=extension_directory,
    )
    with connect(settings) as lake, cluster.connect(database) as source:
        engine = Engine(source, lake, SourceReader(lake, address, scratch), address, settings)
        yield engine
