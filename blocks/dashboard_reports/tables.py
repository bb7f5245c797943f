"""Tables on paper: widths, lines within cells, rows that a page may end after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blocks.dashboard_pages.theme import colours
from blocks.dashboard_reports.content import Table
from blocks.dashboard_reports.strips import INNER, Strip, heading, nothing, text, text_lines
from blocks.dashboard_reports.text_width import broken, text_width

_CELL = 11
_PAD = 8
_LINE = 15
_LONG_WORD = 100
_MOST_LINES = 8
# Rows that stay with the head of their table.
_TOGETHER = 3


def table_strips(part: Table) -> Iterator[Strip]:
    """Yield a table row by row, each knowing the head to repeat above it."""
    yield heading(part.title, part.description)
    if not part.rows:
        yield nothing()
        return
    widths = _widths(part)
    head = _cells(part.heads, part.numeric, widths, bold=True)
    yield Strip(head.height, head.svg, with_next=True)
    for number, row in enumerate(part.rows, start=1):
        strip = _cells(row, part.numeric, widths)
        yield Strip(strip.height, strip.svg, head, with_next=number < min(_TOGETHER, len(part.rows)))
    if part.left_out:
        yield text_lines([f"{part.left_out:,} rows more in the dashboard"], 11, colour="soft", before=4)
    yield Strip(10, "")


def _widths(part: Table) -> list[float]:
    """Return the width of each column: what it needs, words giving way where that is too much.

    A column of words keeps room for its longest word, unless even that is too much for the page.
    """
    wanted, least = [], []
    for head, unbroken, *cells in zip(part.heads, part.unbroken, *part.rows, strict=True):
        texts = [str(cell) for cell in cells]
        words = [word for text in texts for word in text.split()] or [""]
        whole = max(text_width(text, _CELL) for text in texts)
        longest = whole if unbroken else min(_LONG_WORD, max(text_width(word, _CELL) for word in words))
        wanted.append(max(whole, text_width(head, _CELL, bold=True)) + 2 * _PAD)
        least.append(max(longest, *(text_width(word, _CELL, bold=True) for word in head.split())) + 2 * _PAD)
    spare, room = INNER - sum(wanted), INNER - sum(least)
    if spare >= 0:
        return [each + spare / len(wanted) for each in wanted]
    if room >= 0:
        share = room / (sum(wanted) - sum(least))
        return [low + (high - low) * share for low, high in zip(least, wanted, strict=True)]
    folded = [width for width, unbroken in zip(least, part.unbroken, strict=True) if not unbroken]
    most = _cap(folded, INNER - sum(least) + sum(folded))
    widths = [
        width if unbroken else min(width, most) for width, unbroken in zip(least, part.unbroken, strict=True)
    ]
    return [each * min(1.0, INNER / sum(widths)) for each in widths]


def _cap(widths: Sequence[float], room: float) -> float:
    """Return how wide the widest may be, so that all fit: the narrow ones keep what they need."""
    left = room
    for number, width in enumerate(sorted(widths)):
        share = left / (len(widths) - number)
        if width > share:
            return max(share, 3 * _PAD)
        left -= width
    return room


def _some(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1]}…"]


def _cells(row: Sequence[str], numeric: Sequence[bool], widths: Sequence[float], bold: bool = False) -> Strip:
    cells = [
        _some(broken(cell, _CELL, width - 2 * _PAD, bold)) for cell, width in zip(row, widths, strict=True)
    ]
    height = max(len(lines) for lines in cells) * _LINE + 6
    shade, line = colours()["shade"], colours()["line"]
    parts = [f'<rect width="{INNER}" height="{height}" fill="{shade}"/>'] if bold else []
    left = 0.0
    for lines, right_side, width in zip(cells, numeric, widths, strict=True):
        x, anchor = (left + width - _PAD, "end") if right_side else (left + _PAD, "start")
        parts += [
            text(each, x, 3 + _LINE * at + _CELL, _CELL, "text", bold, anchor)
            for at, each in enumerate(lines)
        ]
        left += width
    parts.append(f'<line x2="{INNER}" y1="{height}" y2="{height}" stroke="{line}"/>')
    return Strip(height, "".join(parts))
