"""A report as a picture or as pages of A4, without a browser.

The report becomes strips of SVG, one under the other; vl-convert, which draws the charts already, turns
them into PNG or PDF. A table breaks between its rows and repeats its head; nothing else is broken.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from blocks.dashboard_pages.moments import moment
from blocks.dashboard_reports.content import FONT, Figure, Part, Picture, Report, Table, Words
from blocks.dashboard_reports.figure_boxes import figure_boxes
from blocks.dashboard_reports.strips import (
    INNER,
    MARGIN,
    WIDTH,
    Strip,
    heading,
    nothing,
    rule,
    text,
    text_lines,
)
from blocks.dashboard_reports.tables import table_strips
from blocks.dashboard_reports.text_width import broken
from blocks.dashboard_reports.words import Paragraph, paragraphs

A4_HEIGHT = WIDTH * 297 / 210
PNG_SCALE = 2.0
# vl-convert makes a point of each pixel; A4 is 595.28 points wide.
_PDF_SCALE = 595.28 / WIDTH
_FOOT = 40
_IDS = re.compile(r'(\bid="|url\(#)([^")]+)')


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


def _strips(report: Report) -> Iterator[Strip]:
    board = report.dashboard
    yield text_lines([board.title], 24, bold=True)
    yield text_lines(broken(board.description, 13, INNER), 13, colour="soft")
    yield text_lines([f"Data as of {moment(report.as_of)}"], 13, after=8)
    yield rule(12)
    numbers = count()
    for section in report.sections:
        if section.title:
            yield text_lines([section.title], 18, bold=True, before=12, after=4, with_next=True)
        for row in section.rows():
            yield from _row(row, numbers)
    yield rule(10)
    for line in (f"Owner: {board.owner}", report.link and f"Live, with filters: {report.link}"):
        if line:
            yield text_lines(broken(line, 11, INNER), 11, colour="soft")


def _row(row: tuple[Part, ...], numbers: Iterator[int]) -> Iterator[Strip]:
    figures = [part for part in row if isinstance(part, Figure)]
    if figures:
        yield figure_boxes(figures)
        return
    [part] = row
    if isinstance(part, Words):
        strips = [_paragraph(each) for each in paragraphs(part.markdown)]
        # A question and what answers it belong together.
        yield from [*strips[:-1], *(replace(last, with_next=True) for last in strips[-1:])]
    elif isinstance(part, Picture):
        yield from _picture(part, f"chart{next(numbers)}-")
    elif isinstance(part, Table):
        yield from table_strips(part)


def _paragraph(each: Paragraph) -> Strip:
    if each.kind == "heading":
        lines = broken(each.text, 15, INNER, bold=True)
        return text_lines(lines, 15, bold=True, before=8, with_next=True)
    indent = 14 if each.kind == "item" else 0
    strip = text_lines(broken(each.text, 13, INNER - indent), 13, colour="soft", indent=indent, after=6)
    if each.kind == "item":
        return Strip(strip.height, text("•", 2, 13, 13, "soft") + strip.svg)
    return strip


def _picture(part: Picture, prefix: str) -> Iterator[Strip]:
    yield heading(part.title, part.description)
    if part.svg is None:
        yield nothing()
        return
    # Every chart names its clip paths alike.
    own = _IDS.sub(rf"\g<1>{prefix}\g<2>", part.svg)
    yield Strip(part.height + 8, own)
