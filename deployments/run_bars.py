"""The bars of a run that is followed: as many as the screen has lines, what still moves first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

# Above and below the bars.
LINES_LEFT = 3
# With more runs than these a log gets a line for each run, and none for each of their parts.
FEW_RUNS = 20


@dataclass(frozen=True)
class Bar:
    """How far something is.

    Attributes:
        key: tells it from others.
        text: what it is, in rich's markup.
        percent: done.
        failed: it ended otherwise than it should.
        is_run: a flow run, and not a part of one.
    """

    key: str
    text: str
    percent: float
    failed: bool = False
    is_run: bool = False

    @property
    def is_full(self) -> bool:
        """Whether nothing more will happen."""
        return self.percent >= 100


class RunBars:
    """One bar for each run and each part of one; in a log, one line when it is full."""

    def __init__(self, console: Console) -> None:
        """Prepare the bars; nothing is shown yet.

        Args:
            console: where to show them.
        """
        self._console = console
        self._progress = Progress(
            TextColumn("{task.fields[mark]}"),
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=console,
            transient=False,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars: dict[str, Bar] = {}
        self._printed: set[str] = set()

    def __enter__(self) -> RunBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, bars: Sequence[Bar]) -> None:
        """Show how far everything is.

        Args:
            bars: those that are new or may have moved; what was shown before stays.
        """
        self._bars |= {bar.key: bar for bar in bars}
        if self._progress.disable:
            self._print(bars)
            return
        shown = set(shown_first(list(self._bars.values()), self._console.height - LINES_LEFT))
        for bar in bars:
            if bar.key not in self._tasks:
                self._tasks[bar.key] = self._progress.add_task(bar.text, total=100, mark=_mark(bar))
            self._progress.update(
                self._tasks[bar.key], completed=bar.percent, description=bar.text, mark=_mark(bar)
            )
        for key, task in self._tasks.items():
            self._progress.update(task, visible=key in shown)
        self._count_hidden(len(self._bars) - len(shown))

    def _count_hidden(self, hidden: int) -> None:
        if hidden or "hidden" in self._tasks:
            if "hidden" not in self._tasks:
                self._tasks["hidden"] = self._progress.add_task("", total=100, mark="")
            ended = sum(bar.is_run and bar.is_full for bar in self._bars.values())
            runs = sum(bar.is_run for bar in self._bars.values())
            self._progress.update(
                self._tasks["hidden"],
                description=f"[dim]{hidden} more lines; {ended} of {runs} runs have ended[/]",
                completed=100 * ended / max(runs, 1),
                visible=hidden > 0,
            )

    def _print(self, bars: Sequence[Bar]) -> None:
        many = sum(bar.is_run for bar in self._bars.values()) > FEW_RUNS
        for bar in bars:
            if bar.is_full and bar.key not in self._printed and (bar.is_run or not many):
                self._printed.add(bar.key)
                self._console.print(bar.text)


def shown_first(bars: Sequence[Bar], lines: int) -> list[str]:
    """Return the keys of the bars that are shown on so many lines.

    What failed comes first, then what moves, runs before their parts, then what has ended last.
    """
    if len(bars) <= lines:
        return [bar.key for bar in bars]
    newest_last = [(not bar.failed, bar.is_full, not bar.is_run, -number) for number, bar in enumerate(bars)]
    order = sorted(range(len(bars)), key=lambda number: newest_last[number])
    return [bars[number].key for number in order[: max(lines, 1)]]


def _mark(bar: Bar) -> str:
    if not bar.is_run:
        return "[green]✓" if bar.is_full else " "
    if bar.failed:
        return "[red]✗"
    return "[green]✓" if bar.is_full else "•"
