"""The loader's container image: what is in it, and that it loads files as Lambda runs it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from file_stack import ROOT
from image_function import TAG, Function, Image

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

HEAD = "inv_date_sk,inv_item_sk,inv_warehouse_sk,inv_quantity_on_hand\n"
# Rows whose keys, in no order, take more than the check of keys may keep in memory.
LARGE = 8_000_000
# Everything that is put on the base; 288 MB when this was written.
MOST_MEGABYTES = 320

IMPORT_ALL = """
import importlib, pkgutil
import lambda_csv_loader
for module in pkgutil.walk_packages(lambda_csv_loader.__path__, "lambda_csv_loader."):
    importlib.import_module(module.name)
import pyarrow.acero, pyarrow.compute, pyarrow.csv, pyarrow.dataset, pyarrow.parquet, snowflake.connector
print("imported")
"""
OWN_FILES = """
import json, pathlib
rooms = [pathlib.Path("lambda_csv_loader"), pathlib.Path("deployments")]
files = [str(file) for room in rooms for file in room.rglob("*") if file.is_file()]
print(json.dumps(sorted(file for file in files if not file.endswith(".pyc"))))
"""


def test_a_good_file_is_loaded(function: Function) -> None:
    key = function.stack.put("landing/inventory/good file+é.csv", HEAD + "7,1,1,5\n7,2,1,\n")
    function.work_off()
    assert function.stack.ledger(key) == [("loaded", None, 2)]
    rows = function.stack.query("select inv_item_sk, inv_quantity_on_hand from raw_files.inventory")
    assert sorted(rows) == [(1, 5), (2, None)]


def test_a_bad_file_is_quarantined_and_acknowledged(function: Function) -> None:
    key = function.stack.put("landing/inventory/bad.csv", HEAD + "8,1,1,5\n8,2,1,-4\n")
    function.work_off()
    ((status, _, rows),) = function.stack.ledger(key)
    assert (status, rows) == ("quarantined", 0)
    assert '"-4"' in json.dumps(function.stack.verdict(key))
    assert function.stack.query("select count(*) from raw_files.inventory where inv_date_sk = 8") == [(0,)]
    depths = function.stack.depths()
    assert (depths.waiting, depths.dead) == (0, 0)


def test_a_duplicate_event_changes_nothing(function: Function) -> None:
    key = function.stack.put("landing/inventory/twice.csv", HEAD + "9,1,1,5\n")
    told = function.stack.sqs.receive_message(QueueUrl=function.stack.store.queue_url, VisibilityTimeout=0)
    for message in told["Messages"]:
        function.stack.sqs.send_message(QueueUrl=function.stack.store.queue_url, MessageBody=message["Body"])
    function.work_off()
    state = (
        function.stack.query("select * from ops.csv_files where key = 'landing/inventory/twice.csv'"),
        function.stack.query("select * from raw_files.inventory where inv_date_sk = 9"),
    )
    assert (len(state[0]), len(state[1])) == (1, 1)
    for message in told["Messages"]:
        function.stack.sqs.send_message(QueueUrl=function.stack.store.queue_url, MessageBody=message["Body"])
    function.work_off()
    assert state == (
        function.stack.query("select * from ops.csv_files where key = 'landing/inventory/twice.csv'"),
        function.stack.query("select * from raw_files.inventory where inv_date_sk = 9"),
    )
    assert function.stack.ledger(key) == [("loaded", None, 1)]


def test_what_is_no_event_fails_alone(function: Function) -> None:
    event = {"Records": [{"messageId": "m1", "body": "poison", "eventSource": "aws:sqs", "attributes": {}}]}
    good = function.stack.put("landing/inventory/beside.csv", HEAD + "10,1,1,5\n")
    told = function.stack.sqs.receive_message(QueueUrl=function.stack.store.queue_url, VisibilityTimeout=0)
    body = told["Messages"][0]["Body"]
    event["Records"].append({"messageId": "m2", "body": body, "eventSource": "aws:sqs", "attributes": {}})
    assert function.api.invoke(event) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert function.stack.ledger(good) == [("loaded", None, 1)]
    function.work_off()


def test_logs_are_structured_and_hold_no_secret(function: Function) -> None:
    function.stack.put("landing/inventory/open.csv", HEAD + "12,1,1,5\n")
    function.stack.put("landing/inventory/secretive.csv", HEAD + "13,1,1,seventhousand\n")
    function.work_off()
    said = function.logs()
    assert {json.loads(line)["status"] for line in said.splitlines() if '"status"' in line} == {
        "loaded",
        "quarantined",
    }
    for hidden in ("not-checked", "seventhousand"):
        assert hidden not in said


def test_a_large_file_in_no_order_is_loaded(function: Function) -> None:
    order = np.random.default_rng(7).permutation(LARGE)
    body = io.BytesIO(HEAD.encode())
    body.seek(0, io.SEEK_END)
    columns = [pa.array(np.full(LARGE, 11)), pa.array(order // 20 + 1), pa.array(order % 20 + 1)]
    table = pa.table([*columns, columns[2]], names=["day", "item", "warehouse", "quantity"])
    pa_csv.write_csv(table, body, pa_csv.WriteOptions(include_header=False))
    key = function.stack.put("landing/inventory/large.csv", body.getvalue())
    function.work_off()
    assert function.stack.ledger(key) == [("loaded", None, LARGE)]


def test_function_runs_without_rights(function: Function) -> None:
    code = "import os; print(os.getuid())"
    assert int(function.engine.run("exec", function.container, "python", "-c", code)) != 0


def test_everything_can_be_imported(image: Image) -> None:
    assert image.python(IMPORT_ALL) == "imported\n"


def test_image_holds_the_loader_and_the_contracts_only(image: Image) -> None:
    expected = [*ROOT.glob("lambda_csv_loader/**/*.py"), *ROOT.glob("deployments/datasets/*.yaml")]
    assert json.loads(image.python(OWN_FILES)) == sorted(str(file.relative_to(ROOT)) for file in expected)


def test_image_holds_no_secret(image: Image, tmp_path_factory: pytest.TempPathFactory) -> None:
    told = image.engine.run("history", "--no-trunc", TAG) + image.engine.run("inspect", TAG)
    assert image.secret not in told
    saved = tmp_path_factory.mktemp("saved") / "image.tar"
    image.engine.run("save", "--output", saved, TAG)
    with tarfile.open(saved) as layers:
        found = [name for name, content in _files(layers) if image.secret.encode() in content]
    saved.unlink()
    assert found == []


def test_image_is_small(image: Image) -> None:
    told = image.engine.run("history", "--human=false", "--format", "{{.Size}}", TAG).split()
    below = image.engine.run("history", "--human=false", "--format", "{{.Size}}", image.base).split()
    layers = [int(size) for size in told[: len(told) - len(below)]]
    sizes = f"{sum(layers) / 1e6:.1f} MB on {image.base} of {sum(map(int, below)) / 1e6:.1f} MB"
    print(f"\nThe image: {sizes}")  # noqa: T201 - a number to read
    assert sum(layers) < MOST_MEGABYTES * 1_000_000


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive and of the archives in it."""
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            continue
        try:
            with tarfile.open(fileobj=content) as inner:
                yield from _files(inner)
        except tarfile.ReadError:
            content.seek(0)
            yield member.name, content.read()
