"""How time and memory grow with the connections: plan, apply, deploy, and a daily run with 16 at a time.

`make bench` takes BENCH_CONNECTIONS ("25,50"; 200 takes an hour), BENCH_AT_ONCE (16) and BENCH_PATIENCE.
Each connection is a database of its own with 10 tables of 10 rows. The times that are compared are processor
time of the command: others on the machine lengthen those of the clock, and servers are at work by themselves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.benchmarks.many_connections import ROWS, STREAMS, Command, Company
from tests.benchmarks.measuring import await_calm

pytestmark = [pytest.mark.bench, pytest.mark.timeout(4 * 3600)]

COUNTS = sorted(int(count) for count in os.environ.get("BENCH_CONNECTIONS", "25,50").split(","))
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "16"))
# Of the time per connection, from the smallest number to the largest.
MOST_GROWTH = 1.3
COMMANDS: dict[str, tuple[str, ...]] = {
    "plan": ("connections", "plan"),
    "apply": ("connections", "apply"),
    "apply again": ("connections", "apply"),
    "plan again": ("connections", "plan"),
    "deploy": ("deploy",),
    "deploy again": ("deploy",),
    "daily run": ("run",),
    "daily run again": ("run",),
    "status": ("status",),
    "check": ("connections", "check"),
}
HELD = ("plan again", "deploy")


@dataclass
class Figures:
    """What a company of so many connections took."""

    commands: dict[str, Command] = field(default_factory=dict)
    servers: dict[str, float] = field(default_factory=dict)
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)

    def processor_seconds(self, name: str) -> float:
        """Return the processor time of a command and of the servers that it asked."""
        return self.commands[name].processor_seconds + self.servers[name]


def measured(folder: Path, count: int) -> Figures:
    """Set a company up, run every command, and see that each did what it says."""
    figures = Figures()
    company = Company(folder, count, AT_ONCE)
    try:
        company.start()
        for name, arguments in COMMANDS.items():
            if name == "daily run":
                company.start_workers()
            await_calm()
            before = company.servers_seconds()
            with company.watched() as watched:
                figures.commands[name] = company.floe(*arguments)
            figures.servers[name] = company.servers_seconds() - before
            if name == "daily run again":
                figures.memory = {kind: (peak, watched.totals[kind]) for kind, peak in watched.peaks.items()}
        said = {name: command.said for name, command in figures.commands.items()}
        assert f"{2 * count + 2} to change" in said["apply"]
        assert "Everything is as declared" in said["apply again"]
        assert f"{3 * count} blocks: unchanged" in said["apply again"]
        assert "Deployments: as declared" in said["deploy again"]
        assert "Everything is well" in said["check"]
        assert company.rows() == {
            f"{source}.{table}": ROWS for source in company.sources for table in company.tables
        }
        assert company.mart() == dict.fromkeys(company.sources, ROWS)
        most_at_once = company.most_at_once("replicate")
        assert min(2, AT_ONCE) <= most_at_once <= AT_ONCE
    finally:
        company.stop()
    return figures


def table(figures: dict[int, Figures]) -> str:
    """Return the figures as text, a column for each number of connections."""
    head = f"{'':<20}" + "".join(f"{f'{count} connections':>36}" for count in figures)
    units = f"{'':<20}" + "".join(f"{'clock s':>12}{'processor s':>14}{'peak MB':>10}" for _ in figures)
    rows = [
        f"{name:<20}"
        + "".join(
            f"{each.commands[name].seconds:12.1f}{each.processor_seconds(name):14.1f}"
            f"{each.commands[name].peak_mb:10.0f}"
            for each in figures.values()
        )
        for name in COMMANDS
    ]
    kinds = sorted({kind for each in figures.values() for kind in each.memory})
    rows += [
        f"{kind:<20}"
        + "".join(
            f"{f'MB of one {each.memory[kind][0]:.0f}, of all {each.memory[kind][1]:.0f}':>36}"
            for each in figures.values()
        )
        for kind in kinds
    ]
    title = f"{STREAMS} streams each, {AT_ONCE} replications at a time, {os.cpu_count()} cores"
    return "\n".join([title, head, units, *rows])


def test_many_connections(tmp_path: Path) -> None:
    figures = {count: measured(tmp_path / str(count), count) for count in COUNTS}
    print(f"\n{table(figures)}\n")  # noqa: T201  (what a benchmark is for)
    fewest, most = COUNTS[0], COUNTS[-1]
    grown = {
        name: (figures[most].commands[name].processor_seconds / most)
        / (figures[fewest].commands[name].processor_seconds / fewest)
        for name in HELD
    }
    assert {name: growth for name, growth in grown.items() if growth > MOST_GROWTH} == {}
