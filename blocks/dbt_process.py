"""The process in which dbt runs: `python -m blocks.dbt_process build ...`.

dbt in a process of its own cannot leave threads behind in the flow's process, and dies as a whole.
When the flow's process dies without a word (`kill -9`), its end of our standard input closes, and
this process ends at once instead of going on building behind the back of the next run.
"""

from __future__ import annotations

import os
import sys
import threading

PARENT_GONE = 143


def main(arguments: list[str]) -> int:
    """Run dbt with `arguments` and return its exit code (0 success, 1 node failure, 2 usage or crash)."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from dbt.cli.main import dbtRunner

    result = dbtRunner().invoke(arguments)
    if result.success:
        return 0
    if result.exception is not None:
        print(f"{type(result.exception).__name__}: {result.exception}", file=sys.stderr)  # noqa: T201
        return 2
    return 1


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(PARENT_GONE)


if __name__ == "__main__":
    # dbt's adapters may keep threads that would hold the process open after the work is done.
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
