"""A discovery on the terminal: one line per stream, then what is left out."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from deployments.discovery.declaration_text import printable
from deployments.discovery.streams import Proposal, Stream

_HEADINGS = ("stream", "rows", "mode", "key", "cursor", "why / warning")


def discovery_table(proposal: Proposal) -> Table:
    """Return the table; a warning is worth more than a reason where there is room for one."""
    table = Table(box=None, header_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold", justify="right" if heading == "rows" else "left")
    for stream in proposal.streams:
        table.add_row(
            _plain(f"{stream.namespace}.{stream.name}"),
            "?" if stream.rows is None else f"{stream.rows:,}",
            stream.sync_mode,
            _plain(", ".join(stream.primary_key)),
            _plain(stream.cursor or ""),
            Text(printable("; ".join(stream.warnings)), "yellow")
            if stream.warnings
            else _plain(_why(stream)),
        )
    for left in proposal.left_out:
        style = "yellow" if left.is_warning else "dim"
        table.add_row(
            _plain(f"{left.namespace}.{left.name}"),
            "",
            "left out",
            "",
            "",
            Text(printable(left.reason), style),
        )
    return table


def _why(stream: Stream) -> str:
    return next((note for note in stream.notes if note.startswith("Cursor")), "").partition(": ")[2]


def _plain(text: str) -> Text:
    """Return a text in which brackets are no markup."""
    return Text(printable(text))
