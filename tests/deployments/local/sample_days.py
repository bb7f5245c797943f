"""Days that the simulator played on the sample, for tests to look at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from deployments.local.sample.event_log import RowChange, read_log
from deployments.local.sample.simulate import SimulationSummary, simulate
from tests.deployments.local.sample_databases import SampleDatabases, Tables

SEED = 7
DAYS = (date(2003, 1, 2), date(2003, 1, 3), date(2003, 1, 4))
FIRST_FILE = "landing/inventory/inventory_2003-01-02.csv"


@dataclass
class Played:
    """What some days left."""

    databases: SampleDatabases
    log: Path
    summary: SimulationSummary

    @property
    def changes(self) -> list[RowChange]:
        return [event for event in read_log(self.log) if isinstance(event, RowChange)]

    @cached_property
    def rows(self) -> Tables:
        return self.databases.rows()


def play(
    initial: SampleDatabases, log: Path, days: int = 3, seed: int = SEED, *, all_kinds: bool = False
) -> Played:
    """Play days at once on a copy of the databases, with deletions and rare events when asked to."""
    databases = initial.copy()
    summary = simulate(
        databases.sources, databases.land, days, seed, log, deletions=all_kinds, rare=all_kinds
    )
    return Played(databases, log, summary)


_three_days: dict[str, Played] = {}


def three_days(initial: SampleDatabases, folder: Path) -> Played:
    """Return three days without deletions, played once per test run; tests that write take a copy."""
    name = initial.names["crm"]
    if name not in _three_days:
        _three_days[name] = play(initial, folder / "events.jsonl")
    return _three_days[name]
