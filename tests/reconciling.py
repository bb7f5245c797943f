"""Reconcile single tables of a test engine, and read them as staging would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from blocks import reconciliations
from blocks.merged_rows import PREFIX, find_raw_table
from blocks.reconcile import Sides, is_due, reconcile_stream
from blocks.reconcile_plan import PlannedStream
from blocks.reconciliations import Reconciliation
from blocks.repair_policy import RepairPolicy
from blocks.source_database import SourceDatabase
from blocks.warehouse_dialects import DUCKDB
from lambda_csv_loader.ducklake import connect, sql_name
from tests.airbyte_engine import RAW, Engine

KINDS = ("missing", "stale", "deleted", "not_yet_due", "repaired")


@dataclass
class Table:
    """One table of the source, how it is synced and how it is reconciled."""

    sides: Sides
    engine: Engine
    name: str
    key: list[str]
    cursor: str | None
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def stream(self) -> PlannedStream:
        """The table as a plan has it."""
        return PlannedStream(
            namespace="public",
            name=self.name,
            raw_schema=RAW,
            raw_table=self.name,
            sync_mode="incremental_deduped_history" if self.cursor else "full_refresh_overwrite",
            primary_key=self.key,
            cursor=self.cursor,
            policy=RepairPolicy(**self.policy),
        )

    def sync(self) -> None:
        """Sync it, and leave the row in `ops.syncs` that the flow `replicate` would leave."""
        started = datetime.now(UTC).isoformat()
        self.engine.sync(self.name, self.stream.sync_mode, cursor=self.cursor, key=self.key)
        self.engine.lake.execute(
            "create table if not exists ops.syncs "
            "(connection varchar, stream varchar, status varchar, started_at timestamptz)"
        )
        self.engine.lake.execute(
            f"insert into ops.syncs values ('test', '{self.name}', 'succeeded', '{started}')"
        )

    def reconcile(self, asked_window: timedelta | None = None) -> Reconciliation:
        """Compare and repair it, within a window that is not the declared one."""
        return reconcile_stream(self.sides, self.stream, asked_window)

    def found(self) -> dict[str, int]:
        """Compare and repair it; return the counts that are not 0."""
        done = self.reconcile()
        return {kind: getattr(done, kind) for kind in KINDS if getattr(done, kind)}

    def is_due(self, now: datetime) -> bool:
        """Tell whether its last comparison is old enough."""
        read = reconciliations.last_reads(self.sides.database, self.sides.dialect, self.sides.name)
        return is_due(self.stream, read.get(self.stream.full_name), now)

    def staged(self, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """Return its rows as staging shows them, Airbyte's own columns left out of `*`."""
        raw = find_raw_table(self.engine.lake, "duckdb", RAW, self.name)
        assert raw is not None
        key, cursor = [raw.column(name) for name in self.key], raw.column(self.cursor or "")
        wanted = "columns(c -> not starts_with(c, '_airbyte_'))" if columns == "*" else columns
        return self.engine.lake.execute(
            f"select {wanted} from {raw.merged([c for c in key if c], cursor)} as merged order by {order}"
        ).fetchall()

    def origin(self, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        """Return the source's rows."""
        return self.engine.origin(self.name, columns, order)

    def repairs(self, columns: str = "count(*)") -> list[tuple[Any, ...]]:
        """Return columns of the repair table, in the order in which repairs were written."""
        name = sql_name("lake", RAW, f"{PREFIX}{self.name}")
        return self.engine.lake.execute(f"select {columns} from {name}").fetchall()

    def execute(self, sql: str) -> None:
        """Change the source."""
        self.engine.source.execute(sql.encode())


@contextmanager
def open_sides(engine: Engine) -> Iterator[Sides]:
    """Open both sides as the flow does."""
    block = SourceDatabase(
        host=engine.address.host,
        port=engine.address.port,
        database=engine.address.database,
        user=engine.address.username,
        password=engine.address.password,
    )
    with block.connect() as source, connect(engine.destination) as database:
        reconciliations.prepare(database)
        yield Sides("test", source, database, DUCKDB)
