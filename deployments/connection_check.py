"""Whether everything that a sync needs is there: the server, the connections, the databases, their tables."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from blocks.airbyte import AirbyteConnection, AirbyteServer
from blocks.airbyte_errors import AirbyteNotFound, AirbyteRequestRefused, AirbyteUnauthorized
from blocks.errors import FloeError
from blocks.schema_drift import SchemaChange, SourceSchemaChanged, compare, refuse
from blocks.schema_memory import inspect, read_source, remember
from blocks.settings import Settings
from blocks.source_database import SourceDatabase
from blocks.sync_log import Database, Stream, last_good_syncs
from blocks.warehouse import Warehouse
from deployments import provision
from deployments.connection import ConnectionDeclaration
from deployments.connection_blocks import connection_block, database_block
from deployments.provision_changes import Provisioned, in_words


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    Attributes:
        subject: what was checked.
        level: "notice" is worth to be known and stops nothing.
        words: what was found and, where it is bad, the next command.
    """

    subject: str
    level: Literal["good", "notice", "bad"]
    words: str


def check(
    declarations: Sequence[ConnectionDeclaration],
    settings: Settings,
    server: AirbyteServer,
    *,
    accept: bool = False,
) -> Iterator[Finding]:
    """Yield what is found, one thing after the other; nothing is changed on the server or the sources.

    Args:
        declarations: what is to be there.
        settings: addresses and credentials.
        server: the Airbyte server or its stand-in.
        accept: remember the sources' tables as they are now.
    """
    present = yield from _check_server(declarations, settings, server)
    with ExitStack() as stack:
        database: Database | None = None
        try:
            database = stack.enter_context(Warehouse(target=settings.warehouse).connect())
        except Exception as error:  # noqa: BLE001  (each engine has its own; that it fails is the finding)
            words = (
                f"{str(error).splitlines()[0]}; tables are not compared with earlier ones. Next: floe status"
            )
            yield Finding("warehouse", "bad", words)
        ended = yield from _last_good_syncs(database)
        for declaration in declarations:
            connection = connection_block(
                declaration, server, present.connection_ids.get(declaration.source, "unknown")
            )
            if declaration.source in present.connection_ids:
                yield from _check_by_airbyte(connection)
            yield from _check_tables(connection, declaration, settings, database, accept)
            if ended is not None:
                yield from _check_freshness(connection, ended.get(declaration.source, {}))


def _check_server(
    declarations: Sequence[ConnectionDeclaration], settings: Settings, server: AirbyteServer
) -> Generator[Finding, None, Provisioned]:
    subject = f"Airbyte at {server.server_url}"
    if not server.get_client().health():
        yield Finding(subject, "bad", "does not say that it is well. Next: floe status")
        return Provisioned()
    try:
        present = provision.survey(declarations, settings, server)
    except FloeError as error:
        yield Finding(subject, "bad", _in_one_line(error))
        return Provisioned()
    yield Finding(subject, "good", "answers and takes our credentials")
    for change in present.changes:
        if change.action != "none":
            words = "; ".join(change.details) or f"to {change.action}"
            yield Finding(f"{change.kind} {change.name}", "bad", f"{words}. Next: floe connections apply")
        elif change.note.startswith("not declared"):
            yield Finding(f"{change.kind} {change.name}", "notice", change.note)
    return present


def _check_by_airbyte(connection: AirbyteConnection) -> Iterator[Finding]:
    """Let Airbyte itself try to reach the source, where its API offers that."""
    client = connection.server.get_client()
    subject = f"{connection.name} as Airbyte reaches it"
    try:
        source = client.connection(connection.connection_id).get("sourceId")
        answer = client.config("/sources/check_connection", {"sourceId": source})
    except (AirbyteNotFound, AirbyteUnauthorized, AirbyteRequestRefused):
        yield Finding(subject, "notice", "this server does not offer a check of its sources")
    except FloeError as error:
        yield Finding(subject, "bad", _in_one_line(error))
    else:
        said = answer if isinstance(answer, dict) else {}
        good = said.get("status") == "succeeded"
        words = "reachable" if good else f"{said.get('message') or 'not reachable'}"
        yield Finding(subject, "good" if good else "bad", words)


def _check_tables(
    connection: AirbyteConnection,
    declaration: ConnectionDeclaration,
    settings: Settings,
    database: Database | None,
    accept: bool,
) -> Iterator[Finding]:
    if declaration.source not in settings.sources:
        return  # the survey of the server has said so
    source = database_block(settings.sources[declaration.source])
    subject = f"{connection.name} on {source.host}:{source.port}"
    try:
        accepted, changes = _changes(connection, source, database, accept)
    except FloeError as error:
        yield Finding(subject, "bad", _in_one_line(error))
        return
    for change in accepted:
        yield Finding(change.stream, "notice", f"{change.what}: accepted")
    for change in changes:
        level: Literal["notice", "bad"] = "bad" if _stops(connection, [change]) else "notice"
        yield Finding(change.stream, level, change.what)
    if not _stops(connection, changes):
        count = len(connection.streams)
        yield Finding(subject, "good", f"{count} streams, their keys and cursors are there")


def _changes(
    connection: AirbyteConnection, source: SourceDatabase, database: Database | None, accept: bool
) -> tuple[list[SchemaChange], list[SchemaChange]]:
    """Return the changes that were accepted, and those that stand against the declaration or memory."""
    if database is None:
        return [], compare(connection.streams, read_source(source, connection.streams), {})
    seen = inspect(source, connection, database)
    if not accept or not seen.memory:
        return [], seen.changes
    remember(database, seen.memory)
    standing = inspect(source, connection, database).changes
    return [change for change in seen.changes if change not in standing], standing


def _stops(connection: AirbyteConnection, changes: Sequence[SchemaChange]) -> bool:
    try:
        refuse(connection.name, changes, connection.schema_changes)
    except SourceSchemaChanged:
        return True
    return False


def _last_good_syncs(
    database: Database | None,
) -> Generator[Finding, None, dict[str, dict[Stream, datetime]] | None]:
    if database is None:
        return None
    try:
        return last_good_syncs(database)
    except FloeError as error:
        yield Finding("syncs", "bad", _in_one_line(error))
        return None


def _check_freshness(connection: AirbyteConnection, ended: dict[Stream, datetime]) -> Iterator[Finding]:
    now = datetime.now(UTC)
    never = [stream for stream in connection.streams if (stream.namespace, stream.name) not in ended]
    if never and len(never) == len(connection.streams):
        yield Finding(connection.name, "notice", "has never been synced")
        never = []
    for stream in never:
        yield Finding(f"{connection.name} {stream.full_name}", "notice", "has never been synced")
    for stream in connection.streams:
        last = ended.get((stream.namespace, stream.name))
        age = (now - last).total_seconds() if last else 0.0
        if stream.fresh_within_seconds and age > stream.fresh_within_seconds:
            allowed = in_words(timedelta(seconds=stream.fresh_within_seconds))
            words = f"last good sync {age / 3600:.1f} h ago, declared {allowed}; owner: {stream.owner}"
            subject = f"{connection.name} {stream.full_name}"
            yield Finding(subject, "bad", f"{words}. Next: floe run replicate/{connection.name}")


def _in_one_line(error: FloeError) -> str:
    return " ".join(str(error).split("\n"))
