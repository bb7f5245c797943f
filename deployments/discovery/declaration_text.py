"""A proposal as the text of a connection file, for a person to read, change and keep."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

import yaml

from deployments.discovery.streams import LeftOut, Proposal, Stream

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OWNER = "TODO: who answers for this database"
_FRESH_WITHIN = "26h"


def declaration_text(proposal: Proposal, source: str, database: str) -> str:
    """Return the file's content.

    Args:
        proposal: at least one stream.
        source: the connection's name.
        database: the database's name.
    """
    lines = [
        *_comment(
            f"Discovered in the database {database} by `floe connections discover`. To be read by a person, "
            "who knows the owner, how fresh each table must be, and which tables nobody needs."
        ),
        *_head_warnings(proposal),
        f"source: {scalar(source)}",
        f"owner: {scalar(_OWNER)}",
        f"description: {scalar(f'The database {printable(database)}.')}",
        "",
        f"schemas: {_flow(proposal.namespaces)}",
        f"destination_schema: {_destination(source, proposal)}",
        f"fresh_within: {_FRESH_WITHIN}",
        "",
        "streams:",
    ]
    for stream in proposal.streams:
        lines += [*_stream(stream), ""]
    lines += _left_out(proposal.left_out)
    while not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


def scalar(text: str) -> str:
    """Return a text as a YAML scalar on one line, quoted unless YAML takes it for a plain word as it is."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    quoted: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf"))
    return quoted.strip()


def printable(text: str) -> str:
    """Return a text on one line without control characters, as neither a file nor a terminal may get them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def grouped_warnings(proposal: Proposal) -> dict[str, list[str]]:
    """Return each warning with the tables it is about, the rarest first."""
    found: dict[str, list[str]] = {}
    for stream in proposal.streams:
        for warning in stream.warnings:
            found.setdefault(warning, []).append(f"{stream.namespace}.{stream.name}")
    for left in proposal.left_out:
        if left.is_warning:
            found.setdefault(f"left out: {left.reason}", []).append(f"{left.namespace}.{left.name}")
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


def _destination(source: str, proposal: Proposal) -> str:
    """Return one raw schema per schema of the source, as soon as there are two."""
    return f"raw_{source}" + ("_${SOURCE_NAMESPACE}" if len(proposal.namespaces) > 1 else "")


def _head_warnings(proposal: Proposal) -> Iterator[str]:
    warnings = grouped_warnings(proposal)
    if warnings:
        yield "#"
        yield "# Warnings"
        for warning, tables in warnings.items():
            yield from _comment(f"{', '.join(tables)}: {warning}", bullet="- ")
        yield ""


def _stream(stream: Stream) -> list[str]:
    notes = [*stream.notes, *(f"Warning: {warning}" for warning in stream.warnings)]
    comments = [line for note in notes for line in _comment(note, indent="  ")]
    return [*comments, *_fields(stream)]


def _fields(stream: Stream) -> Iterator[str]:
    yield f"  - name: {scalar(stream.name)}"
    if stream.namespace != "public":
        yield f"    namespace: {scalar(stream.namespace)}"
    yield f"    sync_mode: {stream.sync_mode}"
    if stream.cursor is not None:
        yield f"    cursor: {scalar(stream.cursor)}"
    if stream.primary_key:
        yield f"    primary_key: {_flow(stream.primary_key)}"
    if stream.columns is not None:
        yield f"    columns: {_flow(stream.columns)}"


def _left_out(left_out: list[LeftOut]) -> Iterator[str]:
    if left_out:
        yield "  # Left out. Taking the # away declares what stands as a stream here (its schema goes above)."
        yield ""
    for left in left_out:
        remedy = f"; {left.remedy}" if left.remedy else ""
        yield from _comment(f"{left.namespace}.{left.name}: {left.reason}{remedy}", indent="  ")
        for line in _fields(left.stream) if left.stream else ():
            yield f"  # {line.removeprefix('  ')}"
        yield ""


def _comment(text: str, *, indent: str = "", bullet: str = "") -> list[str]:
    return textwrap.wrap(
        printable(text),
        _WIDTH - len(indent),
        initial_indent=f"{indent}# {bullet}",
        subsequent_indent=f"{indent}# {' ' * len(bullet)}",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _flow(names: Iterable[str]) -> str:
    return f"[{', '.join(scalar(name) for name in names)}]"
