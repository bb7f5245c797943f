"""Publishing the marts on Snowflake: clone the build, grant, swap (zero-copy, no reader waits).

Written from Snowflake's documentation (CREATE SCHEMA ... CLONE, ALTER SCHEMA ... SWAP WITH); never run
against a real account, see the README.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from blocks.publication import Changes, NothingToRollBack, Publication
from lambda_csv_loader.ducklake import sql_name, sql_string

DDL = (
    "create schema if not exists OPS",
    "create table if not exists OPS.PUBLICATIONS (PUBLICATION_ID varchar, PUBLISHED_AT timestamp_tz,"
    " MODELS varchar, RUN varchar, IS_CURRENT boolean)",
    "create table if not exists OPS.BUILDS (RUN varchar, STATE varchar, STARTED_AT timestamp_tz,"
    " ENDED_AT timestamp_tz)",
    # When the build, or the first of its attempts, began, by the clock of Snowflake, which dates its tables.
    "alter table OPS.BUILDS add column if not exists BEGAN_WITH timestamp_tz",
)
_UNFINISHED = "STATE in ('running', 'failed')"
# In each set of marts, made after the grants, so that readers do not see it: which set it is.
_SET = "FLOE_PUBLICATION"


class SnowflakePublisher:
    """Publishes by swapping schemas; see `blocks.publication`.

    Args:
        cursor: an open cursor with autocommit; DDL commits by itself on Snowflake.
        reader_role: gets select on the published marts.
    """

    def __init__(self, cursor: Any, reader_role: str) -> None:
        self._cursor = cursor
        self._reader = sql_name(reader_role)
        for statement in DDL:
            self._run(statement)

    def begin(self, run: str) -> str | None:
        """Note that a build starts; restore first if the last one neither published nor restored."""
        self._finish()
        unfinished = self._rows(f"select RUN, STATE from OPS.BUILDS where {_UNFINISHED} order by STATE")
        for earlier, _ in unfinished:
            self.restore(earlier)
        self._run(
            "insert into OPS.BUILDS (RUN, STATE, STARTED_AT, BEGAN_WITH)"
            " select %s, 'running', %s, current_timestamp()",
            [run, _now()],
        )
        return str(unfinished[-1][1]) if unfinished else None

    def leave(self, run: str) -> None:
        """Note that the build failed; nothing else changes."""
        self._end(run, "failed")

    def failed(self) -> str | None:
        """Return the run of the build that was left."""
        rows = self._rows("select RUN from OPS.BUILDS where STATE = 'failed'")
        return str(rows[0][0]) if rows else None

    def has_new_data(self, failed: str, schemas: Collection[str]) -> bool:
        """Ask when each table of the schemas was last changed; Snowflake's own upkeep counts, too.

        Source: https://docs.snowflake.com/en/sql-reference/info-schema/tables (LAST_ALTERED)
        """
        names = ", ".join(sql_string(schema.upper()) for schema in sorted(schemas))
        changed = self._rows(
            "select count(*) from INFORMATION_SCHEMA.TABLES"
            f" where TABLE_SCHEMA in ({names or 'null'}) and LAST_ALTERED >="
            " (select max(BEGAN_WITH) from OPS.BUILDS where RUN = %s and STATE = 'failed')",
            [failed],
        )
        return bool(changed[0][0])

    def changes(self, read: Collection[str], written: Collection[str]) -> Changes | None:
        """Nobody can tell: every build builds everything.

        LAST_ALTERED says when a statement changed a table, which may be before a build began that did not
        see the change yet, because it was not committed.
        """
        return None

    def go_on(self, failed: str, run: str) -> None:
        """Note the new attempt, then that the failed one was taken up; a kill between leaves both."""
        self._run(
            "insert into OPS.BUILDS (RUN, STATE, STARTED_AT, BEGAN_WITH)"
            " select %s, 'running', %s, BEGAN_WITH from OPS.BUILDS where RUN = %s and STATE = 'failed'",
            [run, _now(), failed],
        )
        self._run("update OPS.BUILDS set STATE = 'continued' where RUN = %s and STATE = 'failed'", [failed])

    def publish(self, run: str, models: list[str]) -> Publication:
        """Clone the build, drop what is no mart, grant, swap, and keep the old set as MARTS_PREVIOUS.

        Only the swap changes what readers see, and it is one atomic statement.
        """
        publication = Publication(str(uuid.uuid4()), datetime.now(UTC), None, tuple(sorted(models)))
        self._run("create or replace schema MARTS_NEXT clone BUILD")
        wanted = {model.upper() for model in models}
        for table in self._tables("MARTS_NEXT"):
            if table not in wanted:
                self._run(f"drop table {sql_name('MARTS_NEXT', table)}")
        self._run(f"grant usage on schema MARTS_NEXT to role {self._reader}")
        self._run(f"grant select on all tables in schema MARTS_NEXT to role {self._reader}")
        self._run(
            f"create table MARTS_NEXT.{_SET} as select %s as PUBLICATION_ID, %s as PUBLISHED_AT,"
            " %s as MODELS, %s as RUN",
            [
                publication.publication_id,
                publication.published_at.isoformat(),
                json.dumps(publication.models),
                run,
            ],
        )
        self._run("create or replace schema SNAPSHOTS_NEXT clone SNAPSHOTS")
        self._run("create schema if not exists MARTS")
        self._run("alter schema MARTS_NEXT swap with MARTS")
        self._finish()
        self._end(run, "published")
        return publication

    def _finish(self) -> None:
        """Do what comes after a swap, also one after which the process was killed.

        The set in MARTS says itself which it is; what OPS.PUBLICATIONS says follows from it.
        """
        if _SET not in self._tables("MARTS"):
            return
        [(publication_id,)] = self._rows(f"select PUBLICATION_ID from MARTS.{_SET}")
        if not self._rows(
            "select 1 from OPS.PUBLICATIONS where PUBLICATION_ID = %s and IS_CURRENT", [publication_id]
        ):
            self._follow(publication_id)

    def _follow(self, publication_id: str) -> None:
        known = self._rows("select 1 from OPS.PUBLICATIONS where PUBLICATION_ID = %s", [publication_id])
        if not known:
            if self._has_schema("MARTS_NEXT"):
                self._run("drop schema if exists MARTS_PREVIOUS")
                self._run("alter schema MARTS_NEXT rename to MARTS_PREVIOUS")
            self._run("create or replace schema SNAPSHOTS_PUBLISHED clone SNAPSHOTS_NEXT")
            self._run(
                "insert into OPS.PUBLICATIONS"
                f" select PUBLICATION_ID, PUBLISHED_AT, MODELS, RUN, false from MARTS.{_SET}"
            )
        # One statement: whenever it is killed, exactly one set is the current one.
        self._run("update OPS.PUBLICATIONS set IS_CURRENT = (PUBLICATION_ID = %s)", [publication_id])

    def restore(self, run: str) -> None:
        """Clone build and snapshots back from the last published copies; empty them before the first.

        The last one counts even after a rollback, which changes what readers see, not history.
        """
        self._finish()
        current, last = self.current(), self._publication("order by PUBLISHED_AT desc limit 1")
        if last is None:
            self._run("create or replace schema BUILD")
            self._run("create or replace schema SNAPSHOTS")
        else:
            marts = "MARTS" if last == current else "MARTS_PREVIOUS"
            self._run(f"create or replace schema BUILD clone {marts}")
            self._run("create or replace schema SNAPSHOTS clone SNAPSHOTS_PUBLISHED")
        self._end(run, "restored")

    def rollback(self) -> Publication:
        """Swap MARTS with MARTS_PREVIOUS.

        Raises:
            NothingToRollBack: there is no MARTS_PREVIOUS.
        """
        self._finish()
        earlier = self._publication("where not IS_CURRENT order by PUBLISHED_AT desc limit 1")
        if earlier is None:
            raise NothingToRollBack(
                "The marts were published only once, so there is no earlier set",
                state="readers keep seeing the current set",
                next_command="floe run transform/marts",
            )
        self._run("alter schema MARTS swap with MARTS_PREVIOUS")
        self._run("update OPS.PUBLICATIONS set IS_CURRENT = (PUBLICATION_ID = %s)", [earlier.publication_id])
        return earlier

    def current(self) -> Publication | None:
        """Return what readers see now."""
        return self._publication("where IS_CURRENT")

    def _publication(self, condition: str) -> Publication | None:
        rows = self._rows(f"select PUBLICATION_ID, PUBLISHED_AT, MODELS from OPS.PUBLICATIONS {condition}")
        if not rows:
            return None
        publication_id, published_at, models = rows[0]
        return Publication(publication_id, published_at, None, tuple(json.loads(models)))

    def _tables(self, schema: str) -> list[str]:
        rows = self._rows(
            "select TABLE_NAME from INFORMATION_SCHEMA.TABLES"
            f" where TABLE_SCHEMA = '{schema}' and TABLE_TYPE = 'BASE TABLE'"
        )
        return [name for (name,) in rows]

    def _has_schema(self, name: str) -> bool:
        return bool(self._rows(f"select 1 from INFORMATION_SCHEMA.SCHEMATA where SCHEMA_NAME = '{name}'"))

    def _end(self, run: str, state: str) -> None:
        self._run(
            f"update OPS.BUILDS set STATE = %s, ENDED_AT = %s where RUN = %s and {_UNFINISHED}",
            [state, _now(), run],
        )

    def _run(self, statement: str, parameters: list[object] | None = None) -> None:
        self._cursor.execute(statement, parameters)

    def _rows(self, query: str, parameters: list[object] | None = None) -> list[Any]:
        self._cursor.execute(query, parameters)
        return list(self._cursor.fetchall())


def _now() -> str:
    return datetime.now(UTC).isoformat()
