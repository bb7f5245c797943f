"""Single figures on paper: boxes beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from blocks.dashboard_pages.theme import colours
from blocks.dashboard_reports.content import ARROWS, Comparison, Figure
from blocks.dashboard_reports.strips import INNER, Strip, text
from blocks.dashboard_reports.text_width import broken, text_width

_GAP = 12


@dataclass
class _Box:
    """The lines of one figure, from the top."""

    parts: list[str] = field(default_factory=list)
    height: float = 10

    def add(self, lines: Sequence[str], size: float, colour: str = "soft", bold: bool = False) -> None:
        for line in lines:
            self.height += size * 1.3
            self.parts.append(text(line, 14, self.height - size * 0.25, size, colour, bold))


def figure_boxes(figures: Sequence[Figure]) -> Strip:
    """Return up to three figures side by side."""
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
    box, room = _Box(), width - 28
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
