"""The sample's three databases, held open by the simulator while it plays a day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from blocks.errors import ConfigurationError, TransientError
from deployments.local.sample.event_log import RowChange
from deployments.local.sample.generate import connect_source
from deployments.local.sample.tables import CHANGING, CHANGING_RARELY, TABLES

_SIMULATION_LOCK = 7_203_001  # any number, the same for every simulator
_LOCK_TIMEOUT = "30s"


class SampleBusy(TransientError):
    """Another simulation runs, or somebody holds rows of the sample locked."""


class Company:
    """Reads the company's state, and applies the changes of a day to it.

    A day is one transaction per database, in which other writers wait and readers do not.

    Args:
        sources: libpq connection strings of `crm`, `erp` and `accounting`, without a password.

    Raises:
        ServiceUnavailable: a database does not answer.
        ConfigurationError: no finished sample is there.
        SampleBusy: another simulation runs.
    """

    def __init__(self, sources: Mapping[str, str]) -> None:
        with ExitStack() as stack:
            self._connections = {
                source: stack.enter_context(connect_source(source, sources[source])) for source in TABLES
            }
            self.scale = self._finished_scale()
            if not self._value("crm", "select pg_try_advisory_lock(%s)", [_SIMULATION_LOCK]):
                raise SampleBusy(
                    "Another simulation is running on this sample",
                    state="no day was played",
                    next_command="wait until it has ended, then `floe simulate` again",
                )
            self._connections["crm"].commit()
            self._stack = stack.pop_all()

    def __enter__(self) -> Company:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections.values():
            if not connection.closed:
                connection.rollback()
        self._stack.close()

    def rows(self, source: str, query: str, *parameters: object) -> list[dict[str, Any]]:
        """Return the rows of a query on one of the databases."""
        with self._connections[source].cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), parameters).fetchall()

    def values(self, source: str, query: str, *parameters: object) -> list[Any]:
        """Return the first column of a query on one of the databases."""
        return [row[0] for row in self._connections[source].execute(query.encode(), parameters)]

    def clock(self) -> datetime:
        """Return the company's business time: the latest of the three clocks."""
        clocks: list[datetime] = [
            self._value(source, "select now from sample.business_clock") for source in TABLES
        ]
        return max(clocks).astimezone(UTC)

    def last_played(self, source: str) -> date | None:
        """Return the last day that the simulator committed in a database, None before the first."""
        day = self._value(source, "select max(day) from sample.played_day")
        return day if isinstance(day, date) else None

    def begin_day(self) -> None:
        """Begin a transaction per database and make other writers wait, so that no row changes unseen.

        Raises:
            SampleBusy: somebody else holds rows locked.
        """
        for source, tables in CHANGING.items():
            connection = self._connections[source]
            written = tables + CHANGING_RARELY.get(source, ())
            names = sql.SQL(", ").join(sql.Identifier("public", table) for table in written)
            try:
                connection.execute(f"set local lock_timeout = '{_LOCK_TIMEOUT}'".encode())
                connection.execute(sql.SQL("lock table {} in share row exclusive mode").format(names))
            except psycopg.errors.LockNotAvailable:
                raise SampleBusy(
                    f"Somebody has held rows of the sample's database {source} locked for {_LOCK_TIMEOUT}",
                    state="the day was not played",
                    next_command="end that transaction, then `floe simulate` again",
                ) from None

    def apply(self, source: str, day: date, changes: Iterable[RowChange]) -> None:
        """Write one day's changes to a database, and set its clock to the next midnight; no commit."""
        connection = self._connections[source]
        moment: datetime | None = None
        for change in changes:
            if change.source != source:
                continue
            if change.at != moment:
                moment = change.at
                connection.execute(
                    "select set_config('floe.business_time', %s, true)", [change.at.isoformat()]
                )
            self._apply_change(connection, change)
        midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC)
        connection.execute("update sample.business_clock set now = greatest(now, %s)", [midnight])
        connection.execute("insert into sample.played_day values (%s)", [day])

    def commit(self, source: str) -> None:
        """Commit the day in one database."""
        self._connections[source].commit()

    def _apply_change(self, connection: psycopg.Connection, change: RowChange) -> None:
        table = sql.Identifier("public", change.table)
        if change.operation == "insert":
            statement = sql.SQL("insert into {} ({}) values ({})").format(
                table, _names(change.after), _placeholders(change.after)
            )
            parameters = list((change.after or {}).values())
        elif change.operation == "update":
            statement = sql.SQL("update {} set {} where {}").format(
                table, _equal(change.after, ", "), _equal(change.key, " and ")
            )
            parameters = [*(change.after or {}).values(), *change.key.values()]
        else:
            statement = sql.SQL("delete from {} where {}").format(table, _equal(change.key, " and "))
            parameters = list(change.key.values())
        changed = connection.execute(statement, parameters).rowcount
        if changed != 1:
            raise ConfigurationError(
                f"The {change.operation} of {change.source}.{change.table} {dict(change.key)}"
                f" met {changed} rows",
                state="the day is not in this database",
                next_command="floe demo --fresh",
            )

    def _value(self, source: str, query: str, parameters: Sequence[object] = ()) -> Any:
        row = self._connections[source].execute(query.encode(), parameters).fetchone()
        return row[0] if row else None

    def _finished_scale(self) -> float:
        for source in TABLES:
            finished = self._value(source, "select to_regclass('sample.generation') is not null") and (
                self._value(source, "select finished from sample.generation")
            )
            if not finished:
                raise ConfigurationError(
                    f"Database {source} holds no finished sample", state="no day was played",
                    next_command="floe up",
                )  # fmt: skip
        return float(self._value("crm", "select scale from sample.generation"))


def _names(columns: Mapping[str, object] | None) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns or ()))


def _placeholders(columns: Mapping[str, object] | None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Placeholder() for _ in columns or ())


def _equal(columns: Mapping[str, object] | None, separator: str) -> sql.Composed:
    return sql.SQL(separator).join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns or ())
