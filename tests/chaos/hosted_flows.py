"""Flows that a real worker runs in the tests of death and lateness, made of what the real ones are made of.

Each writes what it does into the file `notes` of its folder, and waits there for the file `go`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from flows.latest_only import skipped_for_newer
from flows.slot import slot


def note(folder: str, what: str) -> None:
    with (Path(folder) / "notes").open("a") as notes:
        notes.write(f"{what}\n")


def wait_to_go(folder: str) -> None:
    while not (Path(folder) / "go").exists():
        time.sleep(0.1)


@task(persist_result=True)
def first_step(folder: str) -> str:
    """Be done once, however often the run starts."""
    note(folder, f"first step, beats every {get_current_settings().flows.heartbeat_frequency} s")
    return "done"


@flow(name="hosted", persist_result=True)
def hosted(folder: str, holding: bool = True) -> State | None:
    """Do a step, then wait with the slot `transform` and a child process, on the first start only.

    Args:
        folder: where it writes and waits.
        holding: take the slot, whose lease ends in an outage of 15 seconds and the run with it.
    """
    if (skipped := skipped_for_newer()) is not None:
        return skipped
    first_step(folder)
    with slot("transform", lease_seconds=60) if holding else nullcontext():
        if flow_run.get_run_count() == 1:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            note(folder, f"holds {os.getpid()} {child.pid}")
            wait_to_go(folder)
            child.kill()
            child.wait()
    note(folder, f"done {flow_run.get_name()}")
    return None


@flow(name="replicate")
def replicate(source: str, folder: str) -> None:
    """Stand for a replication that `elt` asks for: wait, with a child process as an engine has."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(folder, f"holds {os.getpid()} {child.pid}")
    wait_to_go(folder)
    child.kill()
    child.wait()
    note(folder, f"done {source}")
