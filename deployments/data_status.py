"""How fresh and how whole the data is: sources, files, queues and what readers see, each in one line.

What does not answer is a line too, so that one server that is down hides nothing about the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from rich.table import Table

from blocks.errors import FloeError
from blocks.settings import Settings, loader_settings
from blocks.sync_log import last_good_syncs
from blocks.warehouse import Cursor, Warehouse
from deployments.connection import ConnectionDeclaration
from deployments.provision_changes import in_words
from lambda_csv_loader.contract import Contracts
from lambda_csv_loader.dead_letters import dead_letters
from lambda_csv_loader.queues import Queues

State = Literal["good", "notice", "bad"]
_COLOURS: dict[State, str] = {"good": "green", "notice": "yellow", "bad": "red"}
# With more sources than these, one line is for all that need nothing.
FEW = 20
_LEDGER = (
    "select dataset, status, count(*), coalesce(sum(rows_loaded), 0), max(recorded_at)"
    " from ops.csv_files group by 1, 2 order by 1, 2"
)
_HAS_LEDGER = (
    # Not from `information_schema.tables`, for which DuckDB counts the rows of every table of the lake.
    "select count(*) from information_schema.columns where table_catalog = current_database()"
    " and upper(table_schema) = 'OPS' and upper(table_name) = 'CSV_FILES'"
)


@dataclass(frozen=True)
class Line:
    """What is known of one thing.

    Attributes:
        subject: the thing.
        state: how bad it is.
        words: what there is to know, with the next command where something is to be done.
    """

    subject: str
    state: State
    words: str


class LedgerCount(NamedTuple):
    """The files of one dataset that have one status."""

    dataset: str
    status: str
    files: int
    rows: int
    newest: datetime


def data_table(settings: Settings, declarations: Sequence[ConnectionDeclaration]) -> Table:
    """Return a table of how the data is now.

    Args:
        settings: which warehouse and which queues.
        declarations: the connections, whose freshness is shown.
    """
    table = Table(title="Data", title_justify="left", box=None, header_style="bold")
    for column in ("what", "state", ""):
        table.add_column(column)
    for line in data_lines(settings, declarations, datetime.now(UTC)):
        table.add_row(line.subject, f"[{_COLOURS[line.state]}]{line.state}[/]", line.words)
    return table


def data_lines(
    settings: Settings, declarations: Sequence[ConnectionDeclaration], now: datetime
) -> list[Line]:
    """Return a line for each source, each dataset, the queues and the marts."""
    warehouse = Warehouse(target=settings.warehouse, reader_role=settings.reader_role)
    return [
        *_answered("warehouse", lambda: _of_warehouse(warehouse, declarations, now)),
        *_answered("queue", lambda: _of_queues(settings)),
    ]


def _answered(subject: str, lines: Callable[[], Iterator[Line]]) -> list[Line]:
    try:
        return list(lines())
    except FloeError as error:
        next_command = f" Next: {error.next_command}" if error.next_command else ""
        return [Line(subject, "bad", f"{error.what}.{next_command}")]


def _of_warehouse(
    warehouse: Warehouse, declarations: Sequence[ConnectionDeclaration], now: datetime
) -> Iterator[Line]:
    with warehouse.connect() as cursor:
        ended = last_good_syncs(cursor)
        yield from few([_of_source(each, ended.get(each.source, {}), now) for each in declarations])
        yield from _of_files(cursor, now)
    published = warehouse.last_publication()
    if published is None:
        yield Line("marts", "notice", "never published. Next: floe run transform/marts")
    else:
        yield Line(
            "marts", "good", f"{len(published.models)} published {_ago(now - published.published_at)} ago"
        )


def _of_source(
    declaration: ConnectionDeclaration, ended: dict[tuple[str, str], datetime], now: datetime
) -> Line:
    """Return how fresh a source is; of several stale streams the one that is behind most is named."""
    subject, replicate = f"source {declaration.source}", f"floe run replicate/{declaration.source}"
    never = [stream.name for stream in declaration.streams if (stream.namespace, stream.name) not in ended]
    if never:
        words = f"never synced: {_listed(never)} (owner {declaration.owner}). Next: {replicate}"
        return Line(subject, "notice", words)
    ages = {
        stream.name: (
            now - ended[stream.namespace, stream.name],
            stream.fresh_within or declaration.fresh_within,
        )
        for stream in declaration.streams
    }
    stale = {name: age for name, (age, allowed) in ages.items() if age > allowed}
    if not stale:
        oldest = max(age for age, _ in ages.values())
        return Line(subject, "good", f"{len(ages)} streams fresh, last synced {_ago(oldest)} ago or later")
    worst = max(stale, key=lambda name: ages[name][0] - ages[name][1])
    words = f"{worst} was synced {_ago(stale[worst])} ago, declared {in_words(ages[worst][1])}"
    more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
    return Line(subject, "bad", f"stale: {words}{more} (owner {declaration.owner}). Next: {replicate}")


def ledger_counts(cursor: Cursor) -> list[LedgerCount]:
    """Return how many files each dataset has by status; none where no file was ever loaded."""
    cursor.execute(_HAS_LEDGER)
    if not cursor.fetchall()[0][0]:
        return []
    cursor.execute(_LEDGER)
    return [
        LedgerCount(str(dataset), str(status), int(files), int(rows), newest)
        for dataset, status, files, rows, newest in cursor.fetchall()
    ]


def few(sources: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines of the sources; many that are of one state, unless it is bad, become one line."""
    for state in ("bad", "notice", "good"):
        lines = [line for line in sources if line.state == state]
        if state == "bad" or len(lines) <= FEW:
            yield from lines
        else:
            names = _listed([line.subject.removeprefix("source ") for line in lines])
            words = (
                "fresh" if state == "good" else "not all of their streams were ever synced. Next: floe run"
            )
            yield Line(f"{len(lines)} sources", lines[0].state, f"{names}: {words}")


def _of_files(cursor: Cursor, now: datetime) -> Iterator[Line]:
    by_dataset: dict[str, list[LedgerCount]] = {}
    for entry in ledger_counts(cursor):
        by_dataset.setdefault(entry.dataset, []).append(entry)
    for dataset, entries in by_dataset.items():
        refused = any(entry.status == "quarantined" for entry in entries)
        many_first = sorted(entries, key=lambda entry: -entry.files)
        words = ", ".join(f"{entry.files:,} {entry.status}" for entry in many_first)
        words += f", the last {_ago(now - max(entry.newest for entry in entries))} ago"
        if refused:
            words += f". Next: floe files status {dataset}"
        yield Line(f"files {dataset}", "bad" if refused else "good", words)


def _of_queues(settings: Settings) -> Iterator[Line]:
    queues = Queues(settings.object_store)
    depths = queues.depths()
    yield Line("queue", "good", f"{depths.visible} waiting, {depths.in_flight} in work")
    if depths.dead:
        yield from _answered("dead letters", lambda: _of_dead_letters(queues, settings))


def _of_dead_letters(queues: Queues, settings: Settings) -> Iterator[Line]:
    loading = loader_settings(settings)
    found = dead_letters(queues, loading.object_store.bucket, Contracts(loading.datasets).names())
    if words := found.in_words():
        words += ". Next: floe files status, then floe files replay --dead-letters"
        yield Line("dead letters", "bad", words)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _ago(age: timedelta) -> str:
    """Return a time that passed, in its largest unit."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
