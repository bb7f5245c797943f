"""The roots of Floe's exception tree, and the loader's own leaves.

The loader is the lowest room (its container image holds nothing else), so the roots stand here;
`blocks/errors.py` draws the whole tree. Retry conditions read the class, never the text.
"""

from __future__ import annotations


class FloeError(Exception):
    """Anything Floe raises on purpose.

    Args:
        what: what failed and where (connection, stream, file, row), in one sentence.
        state: what is left behind ("nothing was written", "the staged file stays").
        next_command: the command that brings the reader on.
    """

    def __init__(self, what: str, *, state: str | None = None, next_command: str | None = None) -> None:
        self.what = what
        self.state = state
        self.next_command = next_command
        lines = [what]
        if state:
            lines.append(f"State: {state}")
        if next_command:
            lines.append(f"Next: {next_command}")
        super().__init__("\n".join(lines))


class PermanentError(FloeError):
    """Trying again changes nothing: the input, the declaration or the rights are wrong."""


class TransientError(FloeError):
    """Trying again may work: a time-out, a lost connection, a conflict between two writers."""
