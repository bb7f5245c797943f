"""`floe demo`: the main job from nothing, then stay until Ctrl-C."""

from __future__ import annotations

import shutil
import signal
import time
from types import FrameType

from rich.console import Console

from deployments.local import bring_up, leftovers
from deployments.local import stack as local_stack
from deployments.local.home import Home


def run(console: Console, *, scale: float, once: bool, fresh: bool) -> int:
    """Start the stack, run `elt/daily`, show where to look, and stop everything at the end.

    Args:
        console: where to print.
        scale: of the sample company.
        once: do not stay after the run.
        fresh: delete what earlier runs left before starting.

    Returns:
        The exit code: 0 when the run completed.
    """
    # SIGINT too: a shell starts what runs in the background with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    if fresh:
        _throw_away(console)
    found_running = _runs()
    started = time.monotonic()
    try:
        stack = bring_up.everything(console, scale)
        ready = time.monotonic() - started
        from deployments.run import run_and_follow

        console.print()
        completed = run_and_follow("elt/daily", console)
        console.print(
            f"Time: {ready:.0f} s until the stack was ready, {time.monotonic() - started:.0f} s in all"
        )
        if once and not found_running:
            console.print("\nEverything stops now; floe up starts it again to look at.")
        else:
            bring_up.where_to_look(console, stack)
        if not once:
            console.print("\nCtrl-C stops everything; the data stays for the next time.")
            signal.pause()
        return 0 if completed else 1
    except KeyboardInterrupt:
        console.print("\nStopping")
        return 0 if not once else 130
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        if not found_running:
            local_stack.down(console.print)


def _runs() -> bool:
    """Tell whether somebody's `floe up` runs already; the demo then leaves it running at its end."""
    try:
        local_stack.current()
    except local_stack.StackDown:
        return False
    return True


def _throw_away(console: Console) -> None:
    home = Home.open()
    local_stack.down(console.print)
    leftovers.end(leftovers.find(home))
    shutil.rmtree(home.root)
    console.print(f"Deleted {home.root}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
