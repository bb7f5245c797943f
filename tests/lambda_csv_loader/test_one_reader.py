"""An object is read by one thread at a time: two would mix up its checksums."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from pathlib import Path

import pytest

from lambda_csv_loader.contract import Column, Contract
from lambda_csv_loader.decode import BLOCK
from lambda_csv_loader.validate import validate

CONTRACT = Contract(
    dataset="notes",
    owner="tests",
    mode="append",
    columns=[Column(name="number", type="integer"), Column(name="text", type="varchar")],
)
GOOD_ROWS = b"1,word\n" * (2 * BLOCK // 7)
BAD_FILES = {
    "long record": b"number,text\n" + GOOD_ROWS + b"2," + b"x" * (2 * BLOCK) + b"\n" + 3 * GOOD_ROWS,
    "bad value": b"number,text\n" + b"one,word\n" + 4 * GOOD_ROWS,
    "stray quote": b"number,text\n" + GOOD_ROWS + b'2,"a"b\n' + 4 * GOOD_ROWS,
}


class SlowObject:
    """An object whose reads take long enough to be met by another; it remembers whether one was."""

    name = "landing/notes/file.csv"

    def __init__(self, content: bytes) -> None:
        self.content, self.met = content, False

    def open(self) -> SlowStream:
        return SlowStream(self)


class SlowStream(io.BytesIO):
    def __init__(self, of: SlowObject) -> None:
        super().__init__(of.content)
        self._of, self._reading = of, threading.Lock()

    def read(self, size: int | None = -1, /) -> bytes:
        if not self._reading.acquire(blocking=False):
            self._of.met = True
            return b""
        try:
            time.sleep(0.15)
            return super().read(size)
        finally:
            self._reading.release()


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_refused_file_is_read_to_its_end_by_one_thread_at_a_time(content: bytes, tmp_path: Path) -> None:
    file = SlowObject(content)
    report = validate(file, CONTRACT, "file", folder=tmp_path)
    assert report.verdict is not None
    assert not file.met
    assert report.sha256 == hashlib.sha256(content).hexdigest()
