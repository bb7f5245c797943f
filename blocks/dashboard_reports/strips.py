"""Strips: the pieces that a report on paper is made of, one under the other, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from blocks.dashboard_pages.theme import colours
from blocks.dashboard_reports.content import drawable
from blocks.dashboard_reports.text_width import broken

WIDTH = 680
MARGIN = 40
INNER = WIDTH - 2 * MARGIN


@dataclass(frozen=True)
class Strip:
    """A piece that is never broken.

    Attributes:
        height: of the strip.
        svg: drawn from its upper left corner.
        head: drawn again above it where it is the first of a page.
        with_next: it may not be the last of a page.
    """

    height: float
    svg: str
    head: Strip | None = None
    with_next: bool = False


def text(
    words: str,
    x: float,
    y: float,
    size: float,
    colour: str = "text",
    bold: bool = False,
    anchor: str = "start",
) -> str:
    """Return one line of text; `colour` is a name of the pages' theme."""
    clean = escape(drawable(words))
    weight = ' font-weight="bold"' if bold else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colours()[colour]}"{weight}{where}>'
        f"{clean}</text>"
    )


def text_lines(
    lines: Sequence[str],
    size: float,
    *,
    colour: str = "text",
    bold: bool = False,
    indent: float = 0,
    before: float = 0,
    after: float = 3,
    with_next: bool = False,
) -> Strip:
    """Return lines of text under one another."""
    step = round(size * 1.35, 1)
    drawn = [
        text(line, indent, before + step * at + size, size, colour, bold) for at, line in enumerate(lines)
    ]
    return Strip(before + step * len(lines) + after, "".join(drawn), with_next=with_next)


def rule(height: float) -> Strip:
    """Return a thin line across the page."""
    line = f'<line x2="{INNER}" y1="{height / 2}" y2="{height / 2}" stroke="{colours()["line"]}"/>'
    return Strip(height, line)


def heading(title: str, description: str) -> Strip:
    """Return what stands above a chart or a table; it stays with it."""
    first = text_lines(broken(title, 14, INNER, bold=True), 14, bold=True, before=10, after=1)
    second = text_lines(broken(description, 12, INNER), 12, colour="soft", after=4)
    below = f'{first.svg}<g transform="translate(0 {first.height:.1f})">{second.svg}</g>'
    return Strip(first.height + second.height, below, with_next=True)


def nothing() -> Strip:
    """Return what stands where a card has no answer."""
    return text_lines(["Nothing to show yet."], 13, colour="soft", after=10)
