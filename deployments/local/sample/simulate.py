"""Play the business days that follow, and write everything that happened to an event log.

How a day is kept whole although it spans three databases, a bucket and a file:

1. In one transaction per database, with other writers waiting, the day is planned from the state
   and applied, not committed. An error so far leaves nothing.
2. The weekly file is put beside the event log, then the day is appended to the log, closed by its
   `end_of_day` line, and synced to disk. From here on the day has happened.
3. Each database commits, with the day's name in `sample.played_day`; then the file is landed.

A crash in step 2 leaves an unclosed day in the log, which the next call cuts off and plays anew, with
the same result. A crash in step 3 leaves some databases behind, or the file not landed: the next call
applies the logged day where `sample.played_day` lacks it and lands the file, before anything else.
That day counts as the first of the days asked for, so that the same command can simply be repeated.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psycopg

from blocks.errors import ConfigurationError, TransientError
from deployments.local.sample.activities import EVERY_DAY, RARE, WITH_DELETIONS, Activity
from deployments.local.sample.activities.inventory import count_stock
from deployments.local.sample.company import Company
from deployments.local.sample.day import BusinessDay
from deployments.local.sample.event_log import EventLog, PlayedDay
from deployments.local.sample.generate import Landing
from deployments.local.sample.tables import TABLES


class DayInterrupted(TransientError):
    """A database or the disk failed while a day was being played."""


@dataclass(frozen=True)
class SimulationSummary:
    """What `simulate` played.

    Args:
        days: the days, in order; a day that an earlier call had left unfinished is among them.
        completed: that unfinished day, if there was one.
        rows: changed rows per `<source>.<table>`.
        kinds: changed rows and landed files per kind of event.
        files: keys of the files landed.
    """

    days: tuple[date, ...]
    completed: date | None
    rows: Mapping[str, int]
    kinds: Mapping[str, int]
    files: tuple[str, ...]


@dataclass
class _Played:
    days: list[PlayedDay] = field(default_factory=list)
    completed: date | None = None

    def summary(self) -> SimulationSummary:
        changes = [change for day in self.days for change in day.changes]
        files = [file for day in self.days for file in day.files]
        kinds = Counter(change.kind for change in changes) + Counter(file.kind for file in files)
        return SimulationSummary(
            days=tuple(day.day for day in self.days),
            completed=self.completed,
            rows=dict(sorted(Counter(f"{change.source}.{change.table}" for change in changes).items())),
            kinds=dict(sorted(kinds.items())),
            files=tuple(file.key for file in files),
        )


def simulate(
    sources: Mapping[str, str],
    landing: Landing,
    days: int,
    seed: int,
    event_log: Path,
    *,
    deletions: bool = False,
    rare: bool = False,
) -> SimulationSummary:
    """Play the next business days of the sample company.

    State, seed and the number of days decide everything: three days at once are the same as three
    times one day.

    Args:
        sources: libpq connection strings of `crm`, `erp` and `accounting`, without a password.
        landing: puts one file into the bucket.
        days: how many days; 0 only completes a day that was left unfinished.
        seed: of the dice; each day derives its own from it.
        event_log: the JSON Lines file, continued; always the same one for one company.
        deletions: whether rows are also deleted.
        rare: whether also happens what ordinary days spare a warehouse: buyers are deleted, changes are
            committed days late, promotions change.

    Raises:
        ConfigurationError: no finished sample is there, or the log is not this company's.
        ServiceUnavailable: a database does not answer.
        SampleBusy: another simulation runs, or somebody holds rows locked.
        DayInterrupted: a database or the disk failed on the way; what `landing` raises comes through.
    """
    if days < 0:
        raise ConfigurationError(
            f"The number of days cannot be {days}", state="no day was played",
            next_command="floe simulate --days 1",
        )  # fmt: skip
    activities = EVERY_DAY + (WITH_DELETIONS if deletions else ()) + (RARE if rare else ())
    played = _Played()
    with Company(sources) as company:
        log = EventLog(event_log)
        try:
            unfinished = _complete_last_day(company, log, landing)
            if unfinished:
                played.completed = unfinished.day
                played.days.append(unfinished)
            while len(played.days) < days:
                played.days.append(_play_day(company, log, landing, seed, activities))
        except (psycopg.Error, OSError) as error:
            raise DayInterrupted(
                f"Day {len(played.days) + 1} of {days} could not be played to its end: {str(error).strip()}",
                state="the next call completes that day or plays it anew",
                next_command="floe simulate --days 1",
            ) from error
    return played.summary()


def _play_day(
    company: Company, log: EventLog, landing: Landing, seed: int, activities: Sequence[Activity]
) -> PlayedDay:
    company.begin_day()
    clock = company.clock()
    day = BusinessDay(company, clock.date(), seed, clock)
    stock = count_stock(day)
    for activity in activities:
        activity(day)
    played = PlayedDay(day.date, seed, company.scale, day.changes, [stock[0]] if stock else [])
    for source in TABLES:
        company.apply(source, day.date, played.changes)
    if stock:
        _let_wait(log, stock[1])
    log.append(played)
    for source in TABLES:
        company.commit(source)
    _land_waiting_file(log, played, landing)
    return played


def _complete_last_day(company: Company, log: EventLog, landing: Landing) -> PlayedDay | None:
    """Finish what a crash left of the last logged day; return that day if there was anything to do."""
    last = log.last_day()
    at = {source: company.last_played(source) for source in TABLES}
    _check_log_is_ours(company, log, last, at)
    if last is None:
        return None
    behind = [source for source, day in at.items() if day != last.day]
    for source in behind:
        company.apply(source, last.day, last.changes)
        company.commit(source)
    landed = _land_waiting_file(log, last, landing)
    return last if behind or landed else None


def _check_log_is_ours(
    company: Company, log: EventLog, last: PlayedDay | None, at: Mapping[str, date | None]
) -> None:
    strange = (
        any(at.values())
        if last is None
        else last.scale != company.scale
        or any(day is not None and day > last.day for day in at.values())
        or (last.day not in at.values() and company.clock().date() != last.day)
    )
    if strange:
        where = ", ".join(f"{source} at {day or 'the beginning'}" for source, day in at.items())
        raise ConfigurationError(
            f"The event log {log.path} does not belong to this sample: it ends with"
            f" {last.day if last else 'nothing'}, the databases stand after: {where}",
            state="no day was played",
            next_command="put the sample's own log there, or `floe demo --fresh` for a new company",
        )


def _waiting_file(log: EventLog) -> Path:
    return log.path.with_name(f"{log.path.name}.waiting-file")


def _let_wait(log: EventLog, content: bytes) -> None:
    path = _waiting_file(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _land_waiting_file(log: EventLog, day: PlayedDay, landing: Landing) -> bool:
    """Land the day's file if it still waits; it stops waiting only after the bucket has it."""
    waiting = _waiting_file(log)
    if not waiting.exists():
        return False
    content = waiting.read_bytes()
    mine = [file for file in day.files if hashlib.sha256(content).hexdigest() == file.sha256]
    for file in mine:
        landing(file.key, content)
    waiting.unlink()
    return bool(mine)
