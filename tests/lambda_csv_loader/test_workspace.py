"""What is too large for memory: where it goes, and that nothing of it stays behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from file_stack import ROOT, FileStack

from lambda_csv_loader.ducklake_writer import _open
from lambda_csv_loader.errors import TransientError
from lambda_csv_loader.keys import engine_config
from lambda_csv_loader.load import Loader
from lambda_csv_loader.outcome import LoadResult
from lambda_csv_loader.workspace import workspace

HOLD = """
import os, sys
from pathlib import Path
from lambda_csv_loader.workspace import workspace
made = workspace(Path(sys.argv[1]))
(made / "staged-1.parquet").write_bytes(b"x")
print(made, flush=True)
if sys.argv[2] == "die":
    os.kill(os.getpid(), 9)
if sys.argv[2] == "stay":
    sys.stdin.read()
"""


def hold(folder: Path, how: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), how],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    killed, left = hold(tmp_path, "die")
    assert killed.wait(20) == -9
    assert (left / "staged-1.parquet").exists()
    alive, kept = hold(tmp_path, "stay")
    ended, gone = hold(tmp_path, "end")
    assert ended.wait(20) == 0
    assert (left.exists(), gone.exists(), (kept / "staged-1.parquet").exists()) == (False, False, True)
    alive.communicate("", timeout=20)
    assert list(tmp_path.iterdir()) == []


def test_engines_spill_where_rows_are_staged_and_each_by_itself(stack: FileStack, tmp_path: Path) -> None:
    folders = {Path(str(engine_config("1MB", tmp_path)["temp_directory"])) for _ in range(2)}
    assert {folder.parent for folder in folders} == {workspace(tmp_path)}
    assert len(folders) == 2
    with _open(stack.warehouse) as connection:
        ((spill,),) = connection.execute("select current_setting('temp_directory')").fetchall()
    assert Path(spill).parent == workspace()


def test_a_full_disk_fails_only_the_file_that_needs_it(stack: FileStack, tmp_path: Path) -> None:
    stack.contract("bulky", "mode: append\ncolumns:\n  - {name: body, type: varchar}\n")
    line = "x" * 900_000
    large = stack.put("landing/bulky/large.csv", "body\n" + f"{line}\n" * 25)
    small = stack.put("landing/bulky/small.csv", "body\nx\n")
    shared = stack.loader()
    loader = Loader(shared.bucket, shared.writer, shared.contracts, folder=tmp_path / "absent")
    outcomes = loader.load_many([stack.ref(large), stack.ref(small)])
    failed, loaded = outcomes[stack.ref(large)], outcomes[stack.ref(small)]
    assert isinstance(failed, TransientError)
    assert failed.what == f"{large!r} could not be loaded: FileNotFoundError 2: No such file or directory"
    assert isinstance(loaded, LoadResult)
    assert loaded.status == "loaded"
    stack.drain()
    assert stack.ledger(large) == [("loaded", None, 25)]
    loader.close()


@pytest.mark.parametrize("keep", [b"0", b"1"], ids=["rows-dropped", "file-refused"])
def test_nothing_stays_behind_of_a_large_file(stack: FileStack, tmp_path: Path, keep: bytes) -> None:
    dataset = f"large_{keep.decode()}"
    stack.contract(
        dataset,
        "mode: append\nprimary_key: [id]\nreject_threshold: 1\ncolumns:\n"
        "  - {name: id, type: bigint, nullable: false}\n  - {name: body, type: varchar}\n",
    )
    ids = [*range(25), 0, *([1] if keep == b"1" else [])]
    body = "x" * 900_000
    key = stack.put(f"landing/{dataset}/f.csv", "id,body\n" + "".join(f"{each},{body}\n" for each in ids))
    shared = stack.loader()
    loader = Loader(shared.bucket, shared.writer, shared.contracts, folder=tmp_path)
    loader.load(stack.ref(key))
    assert stack.ledger(key)[0][0] == ("quarantined" if keep == b"1" else "loaded")
    assert [path.name for path in workspace(tmp_path).iterdir()] == ["lock"]
    loader.close()
    stack.drain()
