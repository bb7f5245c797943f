"""Runs dbt commands in forks of one process that has imported dbt: each saves the two seconds that takes.

Started by `dbt_stages`. Each line of its input is a command as JSON: `arguments`, `environment` and the
file for its `output`; each line that it prints is the exit code of one.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import dbt.adapters.duckdb  # noqa: F401 - imported here, so that no command has to
from dbt.cli.main import cli


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(command)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


def _run(command: dict[str, Any]) -> None:
    """Become the dbt command; never returns."""
    output = os.open(command["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(command["environment"])
    code = 2
    try:
        cli(command["arguments"], prog_name="dbt")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
