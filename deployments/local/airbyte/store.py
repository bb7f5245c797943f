"""The stand-in's own records (workspaces, sources, connections, jobs, attempts) in SQLite.

Only the service opens it; workers report through pipes. Replication state is not here but in the lake.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from deployments.local.airbyte.job_spec import AttemptFailure, JobType, StreamProgress

Kind = Literal["workspace", "source", "destination", "connection"]
ACTIVE = ("pending", "running", "incomplete")

_SCHEMA = """
create table if not exists resources (
    id text primary key, kind text not null, workspace_id text, name text not null,
    body text not null, created_at integer not null
);
create table if not exists jobs (
    id integer primary key autoincrement, connection_id text not null, type text not null,
    status text not null, created_at real not null, updated_at real not null, started_at real,
    streams text
);
create unique index if not exists one_active_job on jobs (connection_id)
    where status in ('pending', 'running', 'incomplete');
create table if not exists attempts (
    job_id integer not null, number integer not null, status text not null, created_at real not null,
    updated_at real not null, ended_at real, failures text, primary key (job_id, number)
);
create table if not exists stream_stats (
    job_id integer not null, number integer not null, namespace text not null, name text not null,
    stats text not null, primary key (job_id, number, namespace, name)
);
"""


class AlreadyRunning(Exception):
    """The connection has a job that has not ended."""


class Store:
    """Reads and writes the records; every call is one short transaction."""

    def __init__(self, path: Path) -> None:
        """Open or create the database, readable by its owner only: it holds source passwords."""
        self._path = path
        path.touch(mode=0o600)
        with self._open() as database:
            database.execute("pragma journal_mode = wal")
            database.executescript(_SCHEMA)
            if "streams" not in {row["name"] for row in database.execute("pragma table_info(jobs)")}:
                # Of a stack that was set up before jobs could be of some streams only.
                database.execute("alter table jobs add column streams text")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=30)
        database.row_factory = sqlite3.Row
        try:
            with database:
                yield database
        finally:
            database.close()

    # -- workspaces, sources, destinations, connections

    def add(self, kind: Kind, workspace_id: str | None, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Add a resource under a new id and return it."""
        identity = str(uuid.uuid4())
        with self._open() as database:
            database.execute(
                "insert into resources values (?, ?, ?, ?, ?, ?)",
                (identity, kind, workspace_id, name, json.dumps(body), int(time.time())),
            )
        found = self.get(kind, identity)
        assert found is not None  # noqa: S101
        return found

    def change(self, kind: Kind, identity: str, name: str, body: dict[str, Any]) -> None:
        """Replace name and body of a resource."""
        with self._open() as database:
            database.execute(
                "update resources set name = ?, body = ? where kind = ? and id = ?",
                (name, json.dumps(body), kind, identity),
            )

    def remove(self, kind: Kind, identity: str) -> bool:
        """Delete a resource; tell whether it was there."""
        with self._open() as database:
            done = database.execute("delete from resources where kind = ? and id = ?", (kind, identity))
            return done.rowcount > 0

    def get(self, kind: Kind, identity: str) -> dict[str, Any] | None:
        """Return a resource (id, workspace_id, name, body, created_at), None when unknown."""
        with self._open() as database:
            row = database.execute(
                "select * from resources where kind = ? and id = ?", (kind, identity)
            ).fetchone()
        return _resource(row) if row else None

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """Return every resource of a kind, oldest first."""
        with self._open() as database:
            rows = database.execute(
                "select * from resources where kind = ? order by created_at, rowid", (kind,)
            ).fetchall()
        return [_resource(row) for row in rows]

    # -- jobs

    def add_job(
        self, connection_id: str, job_type: JobType, streams: list[tuple[str, str]] | None = None
    ) -> int:
        """Add a pending job.

        Args:
            connection_id: of the connection.
            job_type: what to do.
            streams: namespaces and names of what it is for; all of the connection's when None.

        Raises:
            AlreadyRunning: the connection has one that has not ended.
        """
        now = time.time()
        with self._open() as database:
            try:
                done = database.execute(
                    "insert into jobs (connection_id, type, status, created_at, updated_at, streams) "
                    "values (?, ?, ?, ?, ?, ?)",
                    (connection_id, job_type, "pending", now, now, json.dumps(streams) if streams else None),
                )
            except sqlite3.IntegrityError:
                raise AlreadyRunning(connection_id) from None
            return int(done.lastrowid or 0)

    def move_job(self, job_id: int, status: str, *, only_from: tuple[str, ...] = ACTIVE) -> bool:
        """Give a job another status unless it has left `only_from` meanwhile; tell whether it was done."""
        now = time.time()
        with self._open() as database:
            done = database.execute(
                "update jobs set status = ?, updated_at = ?, "
                "started_at = coalesce(started_at, case when ? = 'running' then ? end) "
                f"where id = ? and status in ({', '.join('?' * len(only_from))})",
                (status, now, status, now, job_id, *only_from),
            )
            return done.rowcount > 0

    def job(self, job_id: int) -> dict[str, Any] | None:
        """Return a job's row."""
        with self._open() as database:
            row = database.execute("select * from jobs where id = ?", (job_id,)).fetchone()
        return dict(row) if row else None

    def jobs(
        self, *, connection_id: str | None = None, statuses: tuple[str, ...] = ()
    ) -> list[dict[str, Any]]:
        """Return jobs, newest first."""
        terms, values = ["true"], []
        if connection_id is not None:
            terms.append("connection_id = ?")
            values.append(connection_id)
        if statuses:
            terms.append(f"status in ({', '.join('?' * len(statuses))})")
            values += statuses
        with self._open() as database:
            rows = database.execute(
                f"select * from jobs where {' and '.join(terms)} order by id desc", values
            ).fetchall()
        return [dict(row) for row in rows]

    # -- attempts

    def begin_attempt(self, job_id: int) -> int:
        """Add a running attempt and return its number, counted from 0."""
        now = time.time()
        with self._open() as database:
            number = database.execute("select count(*) from attempts where job_id = ?", (job_id,)).fetchone()[
                0
            ]
            database.execute(
                "insert into attempts (job_id, number, status, created_at, updated_at) "
                "values (?, ?, ?, ?, ?)",
                (job_id, number, "running", now, now),
            )
        return int(number)

    def end_attempt(self, job_id: int, number: int, failures: list[AttemptFailure]) -> None:
        """Close an attempt: succeeded without failures, else failed."""
        now = time.time()
        status = "failed" if failures else "succeeded"
        text = json.dumps([failure.model_dump() for failure in failures]) if failures else None
        with self._open() as database:
            database.execute(
                "update attempts set status = ?, ended_at = ?, updated_at = ?, failures = ? "
                "where job_id = ? and number = ? and status = 'running'",
                (status, now, now, text, job_id, number),
            )

    def note_progress(self, job_id: int, number: int, progress: StreamProgress) -> None:
        """Remember a stream's rows so far."""
        with self._open() as database:
            database.execute(
                "insert or replace into stream_stats values (?, ?, ?, ?, ?)",
                (job_id, number, progress.namespace, progress.name, progress.model_dump_json()),
            )
            now = time.time()
            database.execute(
                "update attempts set updated_at = ? where job_id = ? and number = ?", (now, job_id, number)
            )
            database.execute("update jobs set updated_at = ? where id = ?", (now, job_id))

    def attempts(self, job_id: int) -> list[dict[str, Any]]:
        """Return a job's attempts, oldest first, each with `failures` and the `streams` it reported."""
        with self._open() as database:
            attempts = database.execute(
                "select * from attempts where job_id = ? order by number", (job_id,)
            ).fetchall()
            stats = database.execute(
                "select number, stats from stream_stats where job_id = ? order by rowid", (job_id,)
            ).fetchall()
        return [
            {
                **dict(attempt),
                "failures": [AttemptFailure(**item) for item in json.loads(attempt["failures"] or "[]")],
                "streams": [
                    StreamProgress.model_validate_json(row["stats"])
                    for row in stats
                    if row["number"] == attempt["number"]
                ],
            }
            for attempt in attempts
        ]


def _resource(row: sqlite3.Row) -> dict[str, Any]:
    return {**dict(row), "body": json.loads(row["body"])}
