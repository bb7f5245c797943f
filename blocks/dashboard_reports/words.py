"""Text cards where there is no browser: Markdown as paragraphs, and as HTML whose styles are in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class Paragraph(NamedTuple):
    """A piece of a text card without its marks."""

    kind: Literal["heading", "paragraph", "item"]
    text: str


def paragraphs(markdown: str) -> list[Paragraph]:
    """Return the headings, paragraphs and list items of a text card, in order."""
    found: list[Paragraph] = []
    inside: list[str] = []
    for token in _parsed(markdown):
        if token.nesting == 1:
            inside.append(token.type)
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "inline":
            found.append(Paragraph(_kind(inside), _plain(token)))
        elif token.content.strip():
            found.append(Paragraph("paragraph", token.content.strip()))
    return found


def styled_html(markdown: str, styles: Mapping[str, str]) -> str:
    """Return a text card as HTML, each element with the style of its name (mail programs drop sheets)."""
    tokens = _parsed(markdown)
    for token in [*tokens, *(child for parent in tokens for child in parent.children or ())]:
        if token.tag in styles and token.nesting >= 0:
            token.attrSet("style", styles[token.tag])
    reader = _reader()
    html: str = reader.renderer.render(tokens, reader.options, {})
    return html


def _kind(inside: list[str]) -> Literal["heading", "paragraph", "item"]:
    if "heading_open" in inside:
        return "heading"
    return "item" if "list_item_open" in inside else "paragraph"


def _plain(token: Any) -> str:
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content for child in token.children or ()
    )


def _parsed(markdown: str) -> list[Any]:
    return list(_reader().parse(markdown))


def _reader() -> Any:
    from markdown_it import MarkdownIt

    # As on the pages: no raw HTML.
    return MarkdownIt("js-default")
