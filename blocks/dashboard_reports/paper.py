"""A report as a picture or as pages of A4, without a browser.

The report becomes strips of SVG, one under the other; vl-convert, which draws the charts already, turns
them into PNG or PDF. A table breaks between its rows and repeats its head; nothing else is broken.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import count

from blocks.dashboard_pages.moments import moment
from blocks.dashboard_pages.theme import colours
from blocks.dashboard_reports.content import (
    ARROWS,
    FONT,
    Comparison,
    Figure,
    Part,
    Picture,
    Report,
    Table,
    Words,
    drawable,
)
from blocks.dashboard_reports.text_width import broken, text_width
from blocks.dashboard_reports.words import Paragraph, paragraphs

WIDTH = 680
MARGIN = 40
INNER = WIDTH - 2 * MARGIN
A4_HEIGHT = WIDTH * 297 / 210
PNG_SCALE = 2.0
# vl-convert makes a point of each pixel; A4 is 595.28 points wide.
_PDF_SCALE = 595.28 / WIDTH
_FOOT = 40
_IDS = re.compile(r'(\bid="|url\(#)([^")]+)')


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


def png(report: Report) -> bytes:
    """Return the report as one tall picture, twice as fine as its 680 pixels of width."""
    import vl_convert

    strips = [Strip(MARGIN * 0.8, ""), *_strips(report)]
    height = sum(each.height for each in strips) + MARGIN * 0.6
    return vl_convert.svg_to_png(_svg(strips, height), scale=PNG_SCALE)


def pdf(report: Report) -> bytes:
    """Return the report as pages of A4."""
    import vl_convert
    from pypdf import PdfWriter

    pages = _pages([*_strips(report)], A4_HEIGHT - MARGIN - _FOOT)
    writer = PdfWriter()
    for number, strips in enumerate(pages, start=1):
        foot = _page_foot(report, number, len(pages))
        drawn = _svg([Strip(MARGIN, ""), *strips], A4_HEIGHT, foot, _PDF_SCALE)
        writer.append(io.BytesIO(vl_convert.svg_to_pdf(drawn)))
    title = f"{report.dashboard.title}, data as of {moment(report.as_of)}"
    writer.add_metadata(
        {"/Title": title, "/Author": str(report.dashboard.owner), "/Subject": report.dashboard.description}
    )
    writer.compress_identical_objects()
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def _pages(strips: Sequence[Strip], room: float) -> list[list[Strip]]:
    """Return the strips page by page."""
    pages: list[list[Strip]] = [[]]
    left = room
    for group in _groups(strips):
        height = sum(each.height for each in group)
        if height > left and pages[-1]:
            pages.append([])
            left = room
            if head := group[0].head:
                pages[-1].append(head)
                left -= head.height
        pages[-1] += group
        left -= height
    return pages


def _groups(strips: Sequence[Strip]) -> Iterator[list[Strip]]:
    """Yield strips that must stand on one page together."""
    group: list[Strip] = []
    for strip in strips:
        group.append(strip)
        if not strip.with_next:
            yield group
            group = []
    if group:
        yield group


def _svg(strips: Sequence[Strip], height: float, extra: str = "", scale: float = 1) -> str:
    parts, at = [], 0.0
    for strip in strips:
        if strip.svg:
            parts.append(f'<g transform="translate({MARGIN} {at:.1f})">{strip.svg}</g>')
        at += strip.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * scale:.2f}" height="{height * scale:.2f}"'
        f' viewBox="0 0 {WIDTH} {height:.2f}" font-family="{FONT}">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}{extra}</svg>'
    )


def _page_foot(report: Report, number: int, pages: int) -> str:
    y = A4_HEIGHT - _FOOT / 2
    left = text(f"{report.dashboard.title} · data as of {moment(report.as_of)}", MARGIN, y, 10, "soft")
    return left + text(f"{number} of {pages}", WIDTH - MARGIN, y, 10, "soft", anchor="end")


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


def _strips(report: Report) -> Iterator[Strip]:
    board = report.dashboard
    yield _lines([board.title], 24, bold=True)
    yield _lines(broken(board.description, 13, INNER), 13, colour="soft")
    yield _lines([f"Data as of {moment(report.as_of)}"], 13, after=8)
    yield _rule(12)
    numbers = count()
    for section in report.sections:
        if section.title:
            yield _lines([section.title], 18, bold=True, before=12, after=4, with_next=True)
        for row in section.rows():
            yield from _row(row, numbers)
    yield _rule(10)
    for line in (f"Owner: {board.owner}", report.link and f"Live, with filters: {report.link}"):
        if line:
            yield _lines(broken(line, 11, INNER), 11, colour="soft")


def _row(row: tuple[Part, ...], numbers: Iterator[int]) -> Iterator[Strip]:
    figures = [part for part in row if isinstance(part, Figure)]
    if figures:
        yield _figures(figures)
        return
    [part] = row
    if isinstance(part, Words):
        strips = [_paragraph(each) for each in paragraphs(part.markdown)]
        # A question and what answers it belong together.
        yield from [*strips[:-1], *(replace(last, with_next=True) for last in strips[-1:])]
    elif isinstance(part, Picture):
        yield from _picture(part, f"chart{next(numbers)}-")
    elif isinstance(part, Table):
        yield from _table(part)


def _lines(
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
    step = round(size * 1.35, 1)
    drawn = [
        text(line, indent, before + step * at + size, size, colour, bold) for at, line in enumerate(lines)
    ]
    return Strip(before + step * len(lines) + after, "".join(drawn), with_next=with_next)


def _paragraph(each: Paragraph) -> Strip:
    if each.kind == "heading":
        lines = broken(each.text, 15, INNER, bold=True)
        return _lines(lines, 15, bold=True, before=8, with_next=True)
    indent = 14 if each.kind == "item" else 0
    strip = _lines(broken(each.text, 13, INNER - indent), 13, colour="soft", indent=indent, after=6)
    if each.kind == "item":
        return Strip(strip.height, text("•", 2, 13, 13, "soft") + strip.svg)
    return strip


def _rule(height: float) -> Strip:
    line = f'<line x2="{INNER}" y1="{height / 2}" y2="{height / 2}" stroke="{colours()["line"]}"/>'
    return Strip(height, line)


def _title(title: str, description: str) -> Strip:
    first = _lines(broken(title, 14, INNER, bold=True), 14, bold=True, before=10, after=1)
    second = _lines(broken(description, 12, INNER), 12, colour="soft", after=4)
    below = f'{first.svg}<g transform="translate(0 {first.height:.1f})">{second.svg}</g>'
    return Strip(first.height + second.height, below, with_next=True)


def _picture(part: Picture, prefix: str) -> Iterator[Strip]:
    yield _title(part.title, part.description)
    if part.svg is None:
        yield _lines(["Nothing to show yet."], 13, colour="soft", after=10)
        return
    # Every chart names its clip paths alike.
    own = _IDS.sub(rf"\g<1>{prefix}\g<2>", part.svg)
    yield Strip(part.height + 8, own)


# ---- figures, in boxes


@dataclass
class _Box:
    """The lines of one figure, from the top."""

    width: float
    parts: list[str] = field(default_factory=list)
    height: float = 10

    def add(self, lines: Sequence[str], size: float, colour: str = "soft", bold: bool = False) -> None:
        for line in lines:
            self.height += size * 1.3
            self.parts.append(text(line, 14, self.height - size * 0.25, size, colour, bold))


_GAP = 12


def _figures(figures: Sequence[Figure]) -> Strip:
    width = (INNER - _GAP * (len(figures) - 1)) / max(2, len(figures))
    boxes = [_box(figure, width) for figure in figures]
    height = max(box.height for box in boxes) + 10
    frames = [
        f'<g transform="translate({at * (width + _GAP):.1f} 0)"><rect x="0.5" y="0.5" width="{width - 1:.1f}"'
        f' height="{height - 1:.1f}" rx="8" fill="{colours()["page"]}" stroke="{colours()["line"]}"/>'
        f"{''.join(box.parts)}</g>"
        for at, box in enumerate(boxes)
    ]
    return Strip(height + _GAP, "".join(frames))


def _box(figure: Figure, width: float) -> _Box:
    box, room = _Box(width), width - 28
    box.add(broken(figure.title, 13, room, bold=True), 13, "text", bold=True)
    box.add(broken(figure.description, 11, room), 11)
    if figure.value is None:
        box.add(["Nothing to show yet."], 13)
        return box
    box.height += 4
    box.add([figure.value], 26, "text", bold=True)
    if figure.spark:
        beside = text_width(figure.value, 26, bold=True)
        box.parts.append(
            f'<g transform="translate({width - 114} {box.height - 26})">{spark(figure.spark, 100, 24)}</g>'
            if beside < room - 110
            else ""
        )
    if figure.period:
        box.add([figure.period], 11)
    for each in figure.comparisons:
        box.height += 2
        _compared(box, each)
    return box


def _compared(box: _Box, each: Comparison) -> None:
    if each.change is None:
        box.add([f"no figure for {each.period}"], 12)
        return
    words = ARROWS[each.change.direction] + each.change.size
    box.add([words], 12, each.change.tone or "text", bold=True)
    x = 14 + text_width(words + " ", 12, bold=True) + 2
    box.parts.append(text(f"vs {each.period}", x, box.height - 3, 12, "soft"))


def spark(values: Sequence[float], width: float, height: float) -> str:
    """Return a small line of the last values, as SVG without a frame."""
    if len(values) < 2:
        return ""
    low, step = min(values), width / (len(values) - 1)
    rise = (height - 2) / ((max(values) - low) or 1)
    points = " ".join(
        f"{at * step:.1f},{height - 1 - rise * (each - low):.1f}" for at, each in enumerate(values)
    )
    return (
        f'<polyline points="{points}" fill="none" stroke="{colours()["accent"]}" stroke-width="1.75"'
        ' stroke-linejoin="round"/>'
    )


# ---- tables

_CELL = 11
_PAD = 8
_LINE = 15
_LONG_WORD = 100
_MOST_LINES = 8
# Rows that stay with the head of their table.
_TOGETHER = 3


def _table(part: Table) -> Iterator[Strip]:
    yield _title(part.title, part.description)
    if not part.rows:
        yield _lines(["Nothing to show yet."], 13, colour="soft", after=10)
        return
    widths = _widths(part)
    head = _cells(part.heads, part.numeric, widths, bold=True)
    yield Strip(head.height, head.svg, with_next=True)
    for number, row in enumerate(part.rows, start=1):
        strip = _cells(row, part.numeric, widths)
        yield Strip(strip.height, strip.svg, head, with_next=number < min(_TOGETHER, len(part.rows)))
    if part.left_out:
        yield _lines([f"{part.left_out:,} rows more in the dashboard"], 11, colour="soft", before=4)
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
    kept = sum(width for width, unbroken in zip(least, part.unbroken, strict=True) if unbroken)
    share = max(0.2, (INNER - kept) / max(1.0, sum(least) - kept))
    widths = [
        width if unbroken else width * share for width, unbroken in zip(least, part.unbroken, strict=True)
    ]
    return [each * min(1.0, INNER / sum(widths)) for each in widths]


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
