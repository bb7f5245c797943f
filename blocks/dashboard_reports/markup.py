"""A report as HTML for mail programs: no script, no style sheet, pictures as PNG.

Whether a picture stands in the file or beside it in the mail is the caller's choice: Gmail and Outlook
show no picture that stands in the HTML as a `data:` address, and a file to be opened has nothing beside it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from blocks.dashboard_pages.moments import moment
from blocks.dashboard_pages.theme import colours
from blocks.dashboard_reports.content import ARROWS, Figure, Picture, Report, figure_words
from blocks.dashboard_reports.figure_boxes import spark
from blocks.dashboard_reports.paper import PNG_SCALE
from blocks.dashboard_reports.words import styled_html

WIDTH = 660
_SPARK_WIDTH, _SPARK_HEIGHT = 90, 24
Placed = Callable[[bytes], str]


def html(report: Report, place: Placed | None = None) -> str:
    """Return the report as one HTML document.

    Args:
        report: what to write.
        place: takes a PNG and returns its address; without it pictures stand in the document.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    colour = colours()
    styles = {
        "h1": f"margin:0;font-size:17px;line-height:1.35;color:{colour['text']}",
        "h2": f"margin:0;font-size:17px;line-height:1.35;color:{colour['text']}",
        "h3": f"margin:0;font-size:15px;line-height:1.35;color:{colour['text']}",
        "p": f"margin:4px 0 0;font-size:14px;line-height:1.45;color:{colour['soft']}",
        "li": f"margin:2px 0 0;font-size:14px;line-height:1.45;color:{colour['soft']}",
        "a": f"color:{colour['accent']}",
    }
    put = place or _within
    environment.filters["styled"] = lambda text: Markup(styled_html(text, styles))  # noqa: S704 - HTML is off
    return environment.get_template("mail.html.j2").render(
        report=report,
        as_of=moment(report.as_of),
        colour=colour,
        arrows=ARROWS,
        width=WIDTH,
        preview=" · ".join(figure_words(each) for each in report.figures[:2]),
        picture=lambda part: put(_png(part)),
    )


def _within(png: bytes) -> str:
    return "data:image/png;base64," + b64encode(png).decode()


def _png(part: Picture | Figure) -> bytes:
    import vl_convert

    if isinstance(part, Picture):
        return vl_convert.svg_to_png(part.svg or "", scale=PNG_SCALE)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_SPARK_WIDTH}" height="{_SPARK_HEIGHT}">'
        f"{spark(part.spark, _SPARK_WIDTH, _SPARK_HEIGHT)}</svg>"
    )
    return vl_convert.svg_to_png(svg, scale=PNG_SCALE)
