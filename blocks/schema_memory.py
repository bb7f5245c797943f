"""Look at a source's tables before a sync, and remember them after a good one in `ops.source_columns`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from blocks.airbyte import AirbyteConnection
from blocks.airbyte_streams import ReplicatedStream
from blocks.errors import ServiceUnavailable
from blocks.postgres_catalog import read_tables
from blocks.schema_drift import Memory, RememberedColumn, SchemaChange, Tables, compare
from blocks.source_database import SourceDatabase
from blocks.sync_log import Database, prepare
from lambda_csv_loader.ducklake import sql_string
from lambda_csv_loader.session import Session


@dataclass(frozen=True)
class Inspection:
    """What a look at the source gave.

    Attributes:
        changes: against the declaration and the last good sync.
        memory: statements that make the warehouse remember what was seen; none when it does already.
    """

    changes: list[SchemaChange]
    memory: list[str]


def inspect(source: SourceDatabase, connection: AirbyteConnection, database: Database) -> Inspection:
    """Compare a source with what is declared and remembered of it.

    Args:
        source: the database that is replicated.
        connection: the block that replicates it.
        database: the warehouse.

    Raises:
        ServiceUnavailable: the source cannot be read.
        WarehouseUnavailable: the warehouse cannot be read.
    """
    tables = read_source(source, connection.streams)
    memory = remembered(database, connection.name)
    return Inspection(
        compare(connection.streams, tables, memory),
        memorise(connection.name, connection.streams, tables, memory),
    )


def read_source(source: SourceDatabase, streams: Sequence[ReplicatedStream]) -> Tables:
    """Read the tables in the streams' schemas from the source's catalog.

    Raises:
        ServiceUnavailable: it cannot be read.
    """
    schemas = sorted({stream.namespace for stream in streams})
    with source.connect() as database:
        try:
            return read_tables(
                lambda sql: [row[0] for row in database.execute(sql.encode()).fetchall()], schemas
            )
        except psycopg.Error as error:
            raise ServiceUnavailable(
                f"The catalog of {source.database} on {source.host}:{source.port} cannot be read: "
                f"{str(error).strip().splitlines()[0]}",
                state="no sync was started",
                next_command="floe connections check",
            ) from None


def remembered(database: Database, connection: str) -> Memory:
    """Return the columns of a connection's streams as they were at its last good sync."""
    session = Session(lambda: database)

    def read() -> Memory:
        prepare(session)
        found: dict[tuple[str, str], list[RememberedColumn]] = {}
        for namespace, stream, *column in session.rows(
            "select namespace, stream, column_name, declared_type, position from ops.source_columns "
            f"where connection = {sql_string(connection)} order by namespace, stream, position"
        ):
            found.setdefault((str(namespace), str(stream)), []).append(RememberedColumn(*column))
        return found

    return session.run(read)


def remember(database: Database, statements: Sequence[str]) -> None:
    """Run the statements of an `Inspection` in a transaction of their own."""
    session = Session(lambda: database)

    def write() -> None:
        session.execute("begin transaction")
        for statement in statements:
            session.execute(statement)
        session.execute("commit")

    session.run(write)


def memorise(
    connection: str, streams: Sequence[ReplicatedStream], tables: Tables, memory: Memory
) -> list[str]:
    """Return the statements after which the warehouse remembers the tables as they are now."""
    now = {
        place: [
            RememberedColumn(column.name, column.declared, column.position)
            for column in tables[place].columns
        ]
        for stream in streams
        if (place := (stream.namespace, stream.name)) in tables
    }
    if now == {place: list(columns) for place, columns in memory.items()}:
        return []
    name = sql_string(connection)
    rows = [
        f"({name}, {sql_string(namespace)}, {sql_string(stream)}, {sql_string(column.name)}, "
        f"{sql_string(column.declared)}, {column.position}, current_timestamp)"
        for (namespace, stream), columns in now.items()
        for column in columns
    ]
    forget = f"delete from ops.source_columns where connection = {name}"
    return [forget, f"insert into ops.source_columns values {', '.join(rows)}"] if rows else [forget]
