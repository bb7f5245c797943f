"""`ops.reconciliations`: one row per stream and comparison, which the next comparison looks at."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from blocks.warehouse_dialects import Database, Dialect, RawColumn
from lambda_csv_loader.ducklake import sql_string
from lambda_csv_loader.session import Session

_CREATE = (
    "create schema if not exists ops",
    "create table if not exists ops.reconciliations (source varchar, stream varchar, compared varchar, "
    "read_at timestamp with time zone, finished_at timestamp with time zone, newest_cursor varchar, "
    "source_rows bigint, warehouse_rows bigint, missing bigint, stale bigint, deleted bigint, "
    "not_yet_due bigint, repaired bigint, source_mark varchar, asked_window_seconds bigint)",
)


class Reconciliation(BaseModel):
    """What a comparison of one stream found and did.

    Attributes:
        source: the connection.
        stream: schema and table in the source.
        compared: "key" (key and cursor), "all" (every column), "nothing".
        read_at: just before the source was read.
        finished_at: when repairs were written, too.
        newest_cursor: rows up to it were compared; None for streams that are read as a whole.
        source_rows: compared in the source.
        warehouse_rows: compared in the warehouse, repairs merged in.
        missing: rows that the source alone has, though a sync should have brought them.
        stale: rows that differ.
        deleted: rows that the warehouse alone has.
        not_yet_due: rows that the next sync will bring.
        repaired: rows for which a repair was written.
        source_mark: PostgreSQL's counters of changes to the table, None where it has none.
        asked_window_seconds: rows older than that were left out because the run was asked to, so that this
            was not the comparison that is due; None for one as declared.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    stream: str
    compared: str
    read_at: datetime
    finished_at: datetime
    newest_cursor: str | None = None
    source_rows: int = 0
    warehouse_rows: int = 0
    missing: int = 0
    stale: int = 0
    deleted: int = 0
    not_yet_due: int = 0
    repaired: int = 0
    source_mark: str | None = None
    asked_window_seconds: int | None = None


class LastComparison(BaseModel):
    """What is remembered of a stream's last comparison.

    Attributes:
        read_at: just before the source was read.
        source_mark: PostgreSQL's counters of changes to the table then.
        synced_since: whether a sync of the stream began after that.
    """

    read_at: datetime
    source_mark: str | None
    synced_since: bool


def prepare(database: Database) -> None:
    """Create the table unless it is there, and the column that one of an earlier Floe's lacks.

    Raises:
        WarehouseUnavailable: the warehouse failed.
    """
    session = Session(lambda: database)
    session.run(lambda: _prepare(session))


def _prepare(session: Session) -> None:
    for statement in _CREATE:
        session.execute(statement)
    found = session.rows(
        "select column_name from information_schema.columns where table_catalog = current_database() "
        "and upper(table_schema) = 'OPS' and upper(table_name) = 'RECONCILIATIONS' "
        "and upper(column_name) = 'ASKED_WINDOW_SECONDS'"
    )
    if not found:
        session.execute(
            "alter table ops.reconciliations add column if not exists asked_window_seconds bigint"
        )


def record(database: Database, done: Reconciliation) -> None:
    """Remember a comparison."""
    values = [_literal(value) for value in done.model_dump().values()]
    names = ", ".join(type(done).model_fields)
    database.execute(f"insert into ops.reconciliations ({names}) values ({', '.join(values)})")


def last_reads(database: Database, dialect: Dialect, source: str) -> dict[str, datetime]:
    """Return when each stream of a source was last read for a comparison as declared.

    Args:
        database: the warehouse, `prepare`d.
        dialect: of the warehouse.
        source: the connection.
    """
    microseconds = dialect.text(RawColumn("read_at", "TIMESTAMP WITH TIME ZONE"), "max(read_at)")
    database.execute(
        f"select stream, {microseconds} from ops.reconciliations "
        f"where source = {sql_string(source)} and asked_window_seconds is null group by stream"
    )
    return {stream: _moment(text) for stream, text in database.fetchall()}


def last_comparison(
    database: Database, dialect: Dialect, source: str, stream: str, table: str
) -> LastComparison | None:
    """Return what is remembered of a stream, None when it was never compared.

    Args:
        database: the warehouse, `prepare`d.
        dialect: of the warehouse.
        source: the connection.
        stream: schema and table in the source.
        table: the table's name alone, under which `ops.syncs` knows it.
    """
    microseconds = dialect.text(RawColumn("read_at", "TIMESTAMP WITH TIME ZONE"), "read_at")
    database.execute(
        f"select {microseconds}, source_mark from ops.reconciliations "
        f"where source = {sql_string(source)} and stream = {sql_string(stream)} "
        "order by read_at desc limit 1"
    )
    found = database.fetchall()
    if not found:
        return None
    read_at, mark = _moment(found[0][0]), found[0][1]
    return LastComparison(
        read_at=read_at, source_mark=mark, synced_since=_synced_since(database, source, table, read_at)
    )


def _synced_since(database: Database, source: str, table: str, moment: datetime) -> bool:
    database.execute(
        # A table has columns; `information_schema.tables` would count the rows of every table of the lake.
        "select count(*) from information_schema.columns "
        "where upper(table_schema) = 'OPS' and upper(table_name) = 'SYNCS'"
    )
    if not database.fetchall()[0][0]:
        return False
    database.execute(
        f"select count(*) from ops.syncs where connection = {sql_string(source)} "
        f"and stream = {sql_string(table)} and status = 'succeeded' "
        f"and started_at > {_literal(moment)}"
    )
    return bool(database.fetchall()[0][0])


def _moment(microseconds: str) -> datetime:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)


def _literal(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, datetime):
        return f"cast({sql_string(value.isoformat())} as timestamp with time zone)"
    return str(value) if isinstance(value, int) else sql_string(value)
