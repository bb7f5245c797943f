"""A folder of this process for what is too large for memory; it goes when the process ends.

After `kill -9` it stays, so the next process removes those that nobody holds any more. A lock tells,
not a process id: containers that share a disk do not see each other's processes.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import threading
import uuid
from pathlib import Path

_PREFIX, _UNFINISHED, _LOCK = "floe-loader-", ".floe-loader-", "lock"
_made: dict[tuple[int, Path], Path] = {}
_guard = threading.Lock()


def workspace(folder: Path | None = None) -> Path:
    """Return this process's own folder.

    Args:
        folder: where it is made; the system's temporary folder when None (in Lambda the only place
            that can be written).
    """
    base = folder or Path(tempfile.gettempdir())
    # A forked process shares its parent's lock, so it needs a folder of its own.
    place = os.getpid(), base
    with _guard:
        found = _made.get(place)
        if found is None or not found.is_dir():
            _remove_abandoned(base)
            found = _made[place] = _make(base)
    return found


def engine_limits(memory: str, folder: Path | None = None) -> dict[str, str]:
    """Return the settings of a DuckDB that spills into this process's folder, not the working folder.

    Args:
        memory: that it may hold, as DuckDB writes it ("512MB").
        folder: as of `workspace`.
    """
    # Each its own: two engines in one folder would take each other's files for theirs.
    spill = workspace(folder) / f"spill-{uuid.uuid4().hex}"
    return {"memory_limit": memory, "temp_directory": str(spill)}


def _make(base: Path) -> Path:
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=base))
    handle = os.open(unfinished / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    # Under its final name only once it is locked: nobody takes it for abandoned in between.
    made = unfinished.rename(base / (_PREFIX + unfinished.name.removeprefix(_UNFINISHED)))
    atexit.register(_remove_own, made, os.getpid())
    return made


def _remove_own(made: Path, process: int) -> None:
    if process == os.getpid():
        shutil.rmtree(made, ignore_errors=True)


def _remove_abandoned(base: Path) -> None:
    for path in base.glob(f"{_PREFIX}*"):
        try:
            handle = os.open(path / _LOCK, os.O_RDWR)
        except OSError:
            # Another user's, or just being removed.
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
