"""Publishing the marts on DuckLake: views pinned to a version of the build tables."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from blocks.lake_changes import changed_relations
from blocks.publication import BUILD, MARTS, SNAPSHOTS, Changes, NothingToRollBack, Publication
from lambda_csv_loader.ducklake import CATALOG, sql_name, sql_string

_NEWEST = "order by published_at desc limit 1"
_BEFORE_CURRENT = "published_at < (select published_at from ops.publications where is_current)"
_UNFINISHED = "state in ('running', 'failed')"
# As DuckDB writes a view's text: `AT (VERSION => 7)`.
_AT_VERSION = re.compile(r"at\s*\(\s*version\s*=>\s*(\d+)", re.IGNORECASE)


class DuckLakePublisher:
    """Publishes by pinned views; see the module's text."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._run("create schema if not exists ops")
        self._run(
            "create table if not exists ops.publications (publication_id varchar, published_at timestamptz,"
            " version bigint, models varchar, run varchar, is_current boolean)"
        )
        self._run("alter table ops.publications add column if not exists given_up_at timestamptz")
        self._run(
            "create table if not exists ops.builds (run varchar, state varchar, started_at timestamptz,"
            " ended_at timestamptz)"
        )
        # The version that the build, or the first of its attempts, began with.
        self._run("alter table ops.builds add column if not exists began_with bigint")

    def begin(self, run: str) -> str | None:
        """Note that a build starts; restore first if the last one neither published nor restored."""
        unfinished = self._rows(f"select run, state from ops.builds where {_UNFINISHED} order by state")
        for earlier, _ in unfinished:
            self.restore(earlier)
        self._note_begin(run, self._version())
        return str(unfinished[-1][1]) if unfinished else None

    def leave(self, run: str) -> None:
        """Note that the build failed; nothing else changes."""
        self._end(run, "failed")

    def failed(self) -> str | None:
        """Return the run of the build that was left."""
        rows = self._rows("select run from ops.builds where state = 'failed'")
        return str(rows[0][0]) if rows else None

    def has_new_data(self, failed: str, schemas: Collection[str]) -> bool:
        """Look through every version since the build began for changes of rows or tables in the schemas."""
        ((since,),) = self._rows(
            f"select began_with from ops.builds where run = {sql_string(failed)} and state = 'failed'"
        )
        # A build may have begun before this was noted.
        return since is None or changed_relations(self._rows, schemas, since) != set()

    def changes(self, read: Collection[str], written: Collection[str]) -> Changes | None:
        """Look through every version since the last published build began, and since it was published."""
        last = self._last()
        if last is None or last.version is None:
            return None
        ((began,),) = self._rows(
            "select max(b.began_with) from ops.builds as b inner join ops.publications as p on p.run = b.run"
            f" where b.state = 'published' and p.publication_id = {sql_string(last.publication_id)}"
        )
        if began is None:
            return None
        data = changed_relations(self._rows, read, began)
        own = changed_relations(self._rows, written, last.version)
        if data is None or own is None:
            return None
        return Changes(last.publication_id, frozenset(data | own), began, last.version)

    def go_on(self, failed: str, run: str) -> None:
        """Note both in one transaction; what is new is asked from the first attempt on."""
        condition = f"run = {sql_string(failed)} and state = 'failed'"
        with _Transaction(self._cursor):
            ((since,),) = self._rows(f"select began_with from ops.builds where {condition}")
            self._run(f"update ops.builds set state = 'continued' where {condition}")
            self._note_begin(run, since)

    def publish(self, run: str, models: list[str]) -> Publication:
        """Repoint the views of `marts` to the build tables' current version in one transaction."""
        publication = Publication(
            str(uuid.uuid4()), datetime.now(UTC), self._version(), tuple(sorted(models))
        )
        with _Transaction(self._cursor):
            self._show(publication)
            self._run("update ops.publications set is_current = false where is_current")
            self._run(
                "insert into ops.publications"
                " (publication_id, published_at, version, models, run, is_current)"
                f" values ({sql_string(publication.publication_id)},"
                f" {sql_string(publication.published_at.isoformat())}, {publication.version},"
                f" {sql_string(json.dumps(publication.models))}, {sql_string(run)}, true)"
            )
            self._end(run, "published")
        return publication

    def restore(self, run: str) -> None:
        """Put every table of build and snapshots back to the last published version, in one transaction.

        A table that this version does not have is dropped: it was born in the failed run. The last
        published version counts even after a rollback, which changes what readers see, not history.
        """
        published = self._last()
        with _Transaction(self._cursor):
            for schema in (BUILD, SNAPSHOTS):
                then = self._tables_at(schema, published.version) if published else set()
                for table in self._tables(schema) | then:
                    name = sql_name(schema, table)
                    if published is None or table not in then:
                        self._run(f"drop table {name}")
                    else:
                        self._run(
                            f"create or replace table {name} as "
                            f"select * from {name} at (version => {published.version})"
                        )
            self._end(run, "restored")

    def rollback(self) -> Publication:
        """Repoint the views to the set before the current one.

        Raises:
            NothingToRollBack: the current set is the first, or those before it were given up.
        """
        with _Transaction(self._cursor):
            # Chosen within the transaction, so that `give_up` cannot come between.
            earlier = self._publication(f"where given_up_at is null and {_BEFORE_CURRENT} {_NEWEST}")
            if earlier is None:
                raise NothingToRollBack(
                    "The marts were published only once, or `maintain` gave up the sets before the current"
                    " one",
                    state="readers keep seeing the current set",
                    next_command="floe run transform/marts",
                )
            self._show(earlier)
            self._run(
                "update ops.publications"
                f" set is_current = (publication_id = {sql_string(earlier.publication_id)})"
            )
        return earlier

    def current(self) -> Publication | None:
        """Return what the views of `marts` are pinned to."""
        return self._publication("where is_current")

    def give_up(self, before: datetime) -> int:
        """Note that sets published before a moment may go; return how many they are.

        Three sets stay however old they are: what readers see, the one that a rollback would show, and the
        last published one, to which a failed build is restored. That this is written down first keeps a
        rollback at the same time from choosing a set whose version is about to go: one of the two
        transactions fails.
        """
        with _Transaction(self._cursor):
            kept = [self.current(), self._publication(f"where {_BEFORE_CURRENT} {_NEWEST}"), self._last()]
            ids = ", ".join(sql_string(set_.publication_id) for set_ in kept if set_) or "null"
            old = (
                f"given_up_at is null and published_at < {sql_string(before.isoformat())}::timestamptz"
                f" and publication_id not in ({ids})"
            )
            ((count,),) = self._rows(f"select count(*) from ops.publications where {old}")
            if count:
                self._run(f"update ops.publications set given_up_at = {_now()} where {old}")
        return int(count)

    def pinned(self) -> set[int]:
        """Return the versions that must stay: of every set not given up, and of every view that names one."""
        kept = self._rows("select version from ops.publications where given_up_at is null")
        views = self._rows(f"select sql from duckdb_views() where database_name = '{CATALOG}'")
        named = {int(version) for (sql,) in views for version in _AT_VERSION.findall(sql)}
        return {int(version) for (version,) in kept} | named

    def _last(self) -> Publication | None:
        return self._publication(_NEWEST)

    def _publication(self, condition: str) -> Publication | None:
        rows = self._rows(
            f"select publication_id, published_at, version, models from ops.publications {condition}"
        )
        if not rows:
            return None
        publication_id, published_at, version, models = rows[0]
        return Publication(publication_id, published_at, version, tuple(json.loads(models)))

    def _show(self, publication: Publication) -> None:
        self._run("create schema if not exists marts")
        for model in publication.models:
            self._run(
                f"create or replace view {sql_name(CATALOG, MARTS, model)} as select * "
                f"from {sql_name(CATALOG, BUILD, model)} at (version => {publication.version})"
            )
        shown = self._rows(
            f"select view_name from duckdb_views() where database_name = '{CATALOG}'"
            f" and schema_name = '{MARTS}'"
        )
        for (view,) in shown:
            if view not in publication.models:
                self._run(f"drop view {sql_name(CATALOG, MARTS, view)}")

    def _version(self) -> int:
        return int(self._rows(f"select id from {CATALOG}.current_snapshot()")[0][0])

    def _tables(self, schema: str) -> set[str]:
        # Not from `information_schema.tables`, for which DuckDB counts the rows of every table of the lake.
        place = f"database_name = '{CATALOG}' and schema_name = '{schema}'"
        rows = self._rows(
            f"select table_name from duckdb_columns() where {place}"
            f" except select view_name from duckdb_views() where {place}"
        )
        return {name for (name,) in rows}

    def _tables_at(self, schema: str, version: int | None) -> set[str]:
        """Return the tables that `schema` had in `version`, from DuckLake's own catalog tables.

        Source: https://ducklake.select/docs/stable/specification/tables/ducklake_table
        """
        catalog = f"__ducklake_metadata_{CATALOG}"
        rows = self._rows(
            f"select t.table_name from {catalog}.ducklake_table as t"
            f" inner join {catalog}.ducklake_schema as s on s.schema_id = t.schema_id"
            f" where s.schema_name = {sql_string(schema)} and t.begin_snapshot <= {version}"
            f" and (t.end_snapshot is null or t.end_snapshot > {version})"
            f" and (s.end_snapshot is null or s.end_snapshot > {version})"
        )
        return {name for (name,) in rows}

    def _note_begin(self, run: str, version: int) -> None:
        self._run(
            "insert into ops.builds (run, state, started_at, began_with)"
            f" values ({sql_string(run)}, 'running', {_now()}, {version})"
        )

    def _end(self, run: str, state: str) -> None:
        self._run(
            f"update ops.builds set state = {sql_string(state)}, ended_at = {_now()}"
            f" where run = {sql_string(run)} and {_UNFINISHED}"
        )

    # Values stand in the statement as literals: bound ones make DuckDB import pandas, which takes as
    # long as the publication itself.
    def _run(self, statement: str) -> None:
        self._cursor.execute(statement)

    def _rows(self, query: str) -> list[Any]:
        return list(self._cursor.execute(query).fetchall())


class _Transaction:
    """`begin` … `commit`, or `rollback` when the block raises."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __enter__(self) -> None:
        self._cursor.execute("begin")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._cursor.execute("rollback" if kind else "commit")


def _now() -> str:
    return sql_string(datetime.now(UTC).isoformat())
