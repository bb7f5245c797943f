"""What a report says: the cards of a dashboard answered once, without a filter, and written out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from typing import Any, ClassVar, Literal

from blocks.dashboard_definitions import Dashboard, QuestionCard, TextCard
from blocks.dashboard_pages.answers import Answer, Cell, Kind, ask, newest, remembering
from blocks.dashboard_pages.charts import CHART_DISPLAYS, chart
from blocks.dashboard_pages.choices import Query
from blocks.dashboard_pages.figures import Change, change, day, earlier, shown, written
from blocks.dashboard_pages.theme import chart_config

MOST_ROWS = 50
SPARK_POINTS = 26
CHART_WIDTH = 600
_CHART_HEIGHT = 220
_PIE_HEIGHT = 250
# So that a chart with its title fits on a page.
MOST_HEIGHT = 720
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"


@dataclass(frozen=True)
class Words:
    """A text card, in Markdown."""

    kind: ClassVar = "words"

    markdown: str


@dataclass(frozen=True)
class Comparison:
    """An earlier figure of the same series; `change` is None where there is none."""

    period: str
    change: Change | None


@dataclass(frozen=True)
class Figure:
    """One number, for a series with its period and what it was earlier."""

    kind: ClassVar = "figure"

    title: str
    description: str
    value: str | None
    period: str = ""
    comparisons: tuple[Comparison, ...] = ()
    spark: tuple[float, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A chart as SVG; None where the answer has no row."""

    kind: ClassVar = "picture"

    title: str
    description: str
    svg: str | None
    width: float = 0
    height: float = 0


@dataclass(frozen=True)
class Table:
    """Rows as people read them; `left_out` rows more are in the dashboard."""

    kind: ClassVar = "table"

    title: str
    description: str
    heads: tuple[str, ...]
    kinds: tuple[Kind, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns stand to the right."""
        return tuple(kind == "number" for kind in self.kinds)

    @property
    def unbroken(self) -> tuple[bool, ...]:
        """Which columns stay on one line: numbers and dates."""
        return tuple(kind != "text" for kind in self.kinds)


Part = Words | Figure | Picture | Table


@dataclass(frozen=True)
class Section:
    """A tab; it has a title where the dashboard has several."""

    title: str | None
    parts: tuple[Part, ...]

    def rows(self) -> Iterator[tuple[Part, ...]]:
        """Yield the parts in order; figures that follow one another stand two by two, the last three."""
        for figures, group in groupby(self.parts, lambda part: isinstance(part, Figure)):
            parts = tuple(group)
            if not figures:
                yield from ((part,) for part in parts)
                continue
            while parts:
                count = 3 if len(parts) == 3 else 2
                yield parts[:count]
                parts = parts[count:]


@dataclass(frozen=True)
class Report:
    """A dashboard as it reads at one moment.

    Attributes:
        as_of: what time the data is of.
        link: where the live dashboard is, for people.
    """

    dashboard: Dashboard
    as_of: datetime | date | None
    link: str | None
    sections: tuple[Section, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every single number, in order."""
        return tuple(part for each in self.sections for part in each.parts if isinstance(part, Figure))


def report_of(dashboard: Dashboard, query: Query, link: str | None = None) -> Report:
    """Ask the warehouse every card of a dashboard and write the answers out.

    Args:
        dashboard: which.
        query: runs a statement on the warehouse (`on_cursor`).
        link: where the live dashboard is.

    Raises:
        CardFailed: a card's query cannot run on the marts.
        CardUnanswered: the warehouse stopped answering.
    """
    query = remembering(query)
    sections = []
    for tab in dashboard.tabs:
        cards = sorted(tab.cards, key=lambda each: (each.position.row, each.position.col))
        parts: list[Part] = []
        for card in cards:
            if isinstance(card, TextCard):
                parts.append(Words(card.text))
            else:
                parts.append(_part(card, ask(dashboard, card, {}, query)))
        sections.append(Section(tab.title if len(dashboard.tabs) > 1 else None, tuple(parts)))
    return Report(dashboard, newest(dashboard, query), link, tuple(sections))


def drawable(text: str) -> str:
    """Return a text without the characters that XML has not; vl-convert ends the process at one."""
    return _NOT_XML.sub("", text)


def _part(card: QuestionCard, answer: Answer) -> Part:
    [found] = answer.choices
    rows = [[drawable(each) if isinstance(each, str) else each for each in row] for row in found]
    answer = replace(answer, choices=[rows])
    if card.display in CHART_DISPLAYS:
        return _picture(card, answer, rows)
    if card.display == "table":
        return _table(card, answer, rows)
    if card.display == "smartscalar":
        return _latest(card, answer, rows)
    [metric] = card.visualization_settings.metrics
    value = rows[0][answer.place_of(metric)] if rows else None
    text = shown(value, card.settings_of(metric)) if isinstance(value, int | float) else None
    return Figure(card.title, card.description, text)


def _latest(card: QuestionCard, answer: Answer, rows: Sequence[Sequence[Cell]]) -> Figure:
    """Return the last figure of a series, beside earlier ones."""
    visual = card.visualization_settings
    [when], [metric] = visual.dimensions, visual.metrics
    x, y = answer.place_of(when), answer.place_of(metric)
    series = [
        (str(row[x])[:10], value) for row in rows if row[x] and isinstance(value := row[y], int | float)
    ]
    if not series:
        return Figure(card.title, card.description, None)
    known, (last, now) = dict(series), series[-1]
    days, numbers = card.settings_of(when), card.settings_of(metric)
    comparisons = []
    for count in visual.comparisons:
        then = earlier(last, days, count)
        changed = (
            change(now, known[then], numbers, visual.switch_positive_negative) if then in known else None
        )
        comparisons.append(Comparison(day(then, days), changed))
    period = ("Week of " if days.temporal_unit == "week" else "") + day(last, days)
    spark = tuple(float(value) for _, value in series[-SPARK_POINTS:])
    return Figure(card.title, card.description, shown(now, numbers), period, tuple(comparisons), spark)


def _table(card: QuestionCard, answer: Answer, rows: Sequence[Sequence[Cell]]) -> Table:
    kinds = tuple(kind for _, kind in answer.columns)
    settings = [card.settings_of(name) for name, _ in answer.columns]
    texts = tuple(
        tuple(written(*each) for each in zip(row, kinds, settings, strict=True)) for row in rows[:MOST_ROWS]
    )
    return Table(
        card.title,
        card.description,
        tuple(card.title_of(name) for name, _ in answer.columns),
        kinds,
        texts,
        max(0, len(rows) - MOST_ROWS),
    )


def _picture(card: QuestionCard, answer: Answer, rows: Sequence[Sequence[Cell]]) -> Picture:
    if not rows:
        return Picture(card.title, card.description, None)
    import vl_convert

    names = [name for name, _ in answer.columns]
    series = answer.values_of(*card.visualization_settings.dimensions[-1:])
    spec: dict[str, Any] = chart(card, answer.columns, series)
    height = _height(card, answer, rows)
    locale = spec["config"]
    spec |= {
        "width": CHART_WIDTH,
        "height": height,
        "config": chart_config(CHART_WIDTH) | locale | {"font": FONT, "background": "white"},
        "data": {"name": "rows", "values": [dict(zip(names, row, strict=True)) for row in rows]},
    }
    return Picture(card.title, card.description, vl_convert.vegalite_to_svg(spec), CHART_WIDTH, height)


def _height(card: QuestionCard, answer: Answer, rows: Sequence[Sequence[Cell]]) -> float:
    if card.display == "pie":
        return _PIE_HEIGHT
    if card.display != "row":
        return _CHART_HEIGHT
    first = answer.place_of(card.visualization_settings.dimensions[0])
    bars = len({str(row[first]) for row in rows})
    height = bars * 24 + 70 + (30 if len(card.visualization_settings.dimensions) == 2 else 0)
    return min(max(120, height), MOST_HEIGHT)


Direction = Literal["up", "down", ""]
ARROWS: dict[Direction, str] = {"up": "▲ ", "down": "▼ ", "": ""}


def figure_words(figure: Figure) -> str:
    """Return a figure as one line of plain text."""
    line = f"{figure.title}: {figure.value or 'nothing to show yet'}"
    line += f" ({figure.period})" if figure.period else ""
    for each in figure.comparisons:
        if each.change:
            line += f", {ARROWS[each.change.direction]}{each.change.size} vs {each.period}"
    return line
