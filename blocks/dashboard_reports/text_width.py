"""How wide a text is in the font that reports are drawn with, so that lines can be broken without a browser.

vl-convert brings Liberation Sans, whose characters are as wide as Arial's and Helvetica's by design. The
widths are those of its own tables, in thousandths of the font size; a test compares them with a drawn page.
"""

from __future__ import annotations

from unicodedata import east_asian_width

_BY_WIDTH = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jckvsxyz",
    556: "#$0123456789?L_abdeghnopqu–€",
    584: "+<=>~",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    990: "▲▼",
    1015: "@",
}
_WIDTHS = {letter: width for width, letters in _BY_WIDTH.items() for letter in letters}
_OTHER = 667
_WIDE = 1000
_BOLD = 1.1


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Return the width of a line of text; exact for ASCII in normal weight, about right for the rest."""
    total = sum(
        _WIDTHS.get(letter) or (_WIDE if east_asian_width(letter) in "WF" else _OTHER) for letter in text
    )
    return total * size / 1000 * (_BOLD if bold else 1)


def broken(text: str, size: float, width: float, bold: bool = False) -> list[str]:
    """Return a text in lines that fit a width; a word that is wider than a line is cut."""
    # A width that was computed from this very text must hold it.
    width += 0.01
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and text_width(f"{line} {word}", size, bold) <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(word, size, width, bold)
        lines += whole
    return [*lines, line] if line or not lines else lines


def _pieces(word: str, size: float, width: float, bold: bool) -> list[str]:
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size, bold) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
