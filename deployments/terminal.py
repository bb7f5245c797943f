"""What the command line prints on: one console for results, one for errors.

In a pipe or a log nothing is folded to 80 columns, so that what was printed can be searched; COLUMNS
says otherwise.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

from rich.console import Console

UNFOLDED_COLUMNS = 240


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    fits = stream.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, stderr=stderr, width=None if fits else UNFOLDED_COLUMNS)


console = _console(sys.stdout)
errors = _console(sys.stderr, stderr=True)
