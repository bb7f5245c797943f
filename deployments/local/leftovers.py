"""Processes that outlived their supervisor (`kill -9`, a crash), and how to end them.

A process of ours is recognised by the variable `FLOE_STACK` in its environment, never by its name.
PostgreSQL overwrites its environment to set its title, so its own pid file is asked instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from deployments.local.home import Home


def find(home: Home) -> list[psutil.Process]:
    """Return the processes of this home's stack that still run, PostgreSQL servers last."""
    found = [process for process in psutil.process_iter() if _is_ours(process, home.root)]
    servers = [server for data in (home.sources, home.platform) if (server := _postmaster(data))]
    return [process for process in found if process not in servers] + servers


def end(processes: list[psutil.Process], grace_seconds: float = 10) -> None:
    """Ask each process to end, wait, then kill what is left.

    PostgreSQL gets SIGINT (its fast shutdown), which keeps the data folder clean.
    """
    for process in processes:
        _signal(process, 2 if process.name().startswith("postgres") else 15)
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        _signal(process, 9)
    psutil.wait_procs(alive, timeout=grace_seconds)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _is_ours(process: psutil.Process, root: Path) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get("FLOE_STACK") == str(root)
    except psutil.Error:
        return False


def _postmaster(data: Path) -> psutil.Process | None:
    """Return the server that a cluster's postmaster.pid names, if that very process still runs.

    Source: https://www.postgresql.org/docs/16/storage-file-layout.html (pid, folder, start time ...).
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        # The pid may have been given to another process since.
        same = abs(process.create_time() - int(lines[2])) < 60 and process.name().startswith("postgres")
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
    return process if same else None
