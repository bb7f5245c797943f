"""Rounds of contenders that take turns on a machine that is calm, and their table."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

CALM = 1.0
PATIENCE = float(os.environ.get("BENCH_PATIENCE", "120"))


class Measure(NamedTuple):
    """What one run of a contender took."""

    seconds: float
    peak_mb: float | None = None
    cpu_seconds: float | None = None
    spilled_mb: float | None = None


@dataclass
class Results:
    """Every run of a contender, and how busy the machine was before it."""

    runs: list[Measure] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(run.seconds for run in self.runs)

    @property
    def peak_mb(self) -> float:
        return max(run.peak_mb or 0.0 for run in self.runs)

    def shown(self, what: str, digits: int) -> str:
        """Return the most that any run took of something, right-aligned; blank where nothing tells."""
        values = [value for run in self.runs if (value := getattr(run, what)) is not None]
        return f"{max(values):9.{digits}f}" if values else " " * 9

    def row(self, name: str, floor: float) -> str:
        times = [run.seconds for run in self.runs]
        spread = f"({min(times):.2f}-{max(times):.2f})"
        more = self.shown("cpu_seconds", 2) + self.shown("peak_mb", 0) + self.shown("spilled_mb", 0)
        loads = f"{min(self.loads):.1f}-{max(self.loads):.1f}"
        return f"{name:<34}{self.seconds:8.2f} {spread:<16}{self.seconds / floor:7.2f}{more}   {loads}"


@contextmanager
def looking(look: Callable[[], None], every: float) -> Iterator[None]:
    """Look at something again and again while the block runs.

    Args:
        look: what to do.
        every: seconds between two looks.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(every):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def await_calm() -> float:
    """Wait for a while until the machine has nothing else to do; return its load."""
    deadline = time.monotonic() + PATIENCE
    while (load := os.getloadavg()[0]) >= CALM and time.monotonic() < deadline:
        time.sleep(1)
    return load


def take_turns(contenders: dict[str, Callable[[], Measure]], rounds: int) -> dict[str, Results]:
    """Run every contender once per round, each round beginning with another one."""
    results = {name: Results() for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        first = turn % len(names)
        for name in [*names[first:], *names[:first]]:
            results[name].loads.append(await_calm())
            results[name].runs.append(contenders[name]())
    return results


def table(title: str, results: dict[str, Results], floor: str) -> str:
    """Return the results as text, each beside the floor."""
    head = f"{'':<34}{'median s':>8} {'(min-max)':<16}{'x floor':>7}"
    head += f"{'cpu s':>9}{'peak MB':>9}{'spill MB':>9}   load"
    rows = [result.row(name, results[floor].seconds) for name, result in results.items()]
    return "\n".join([title, head, *rows])
