"""The laptop's object store: S3 and SQS as clients see them, kept on disk through a power cut."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from file_stack import StoreProcess, running_store
from moto.sqs import models as sqs_models
from moto.sqs.models import Queue, SQSBackend

from deployments.local import long_queue
from lambda_csv_loader.object_store import client

BUCKET = "floe-landing"
ODD_KEYS = [
    "landing/../../../etc/passwd",
    "../outside.csv",
    "/rooted.csv",
    "landing/stock/folder/",
    "landing//double.csv",
    "landing/stock/día-日本-🚚.csv",
    "landing/stock/a b+c%20d.csv",
    "landing/Stock/UPPER.csv",
    "landing/stock/upper.csv",
    "landing/.hidden.csv",
    "landing/stock.csv/inside.csv",
    "landing/stock.csv",
    "landing/" + "long/" * 60 + "x" * 700 + ".csv",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store"), BUCKET) as running:
        yield running


@pytest.fixture
def s3(store: StoreProcess) -> Any:
    return client(store.settings(BUCKET), "s3")


def everything(s3: Any) -> dict[str, tuple[bytes, str, Any]]:
    """Return each object's bytes, ETag and time."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {
        found["Key"]: (
            s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read(),
            found["ETag"],
            s3.head_object(Bucket=BUCKET, Key=found["Key"])["LastModified"],
        )
        for page in pages
        for found in page.get("Contents", [])
    }


def power_cut(store: StoreProcess) -> None:
    store.kill()
    store.start()


def test_an_upload_leads_to_an_event_in_the_queue(store: StoreProcess, s3: Any) -> None:
    sqs, settings = client(store.settings(BUCKET), "sqs"), store.settings(BUCKET)
    s3.put_object(Bucket=BUCKET, Key="landing/stock/event.csv", Body=b"x")
    s3.put_object(Bucket=BUCKET, Key="quarantine/stock/other.csv", Body=b"x")
    answer = sqs.receive_message(QueueUrl=settings.queue_url, MaxNumberOfMessages=10)
    bodies = [json.loads(message["Body"]) for message in answer["Messages"]]
    keys = [record["s3"]["object"]["key"] for body in bodies for record in body.get("Records", [])]
    assert keys == ["landing%2Fstock%2Fevent.csv"]
    policy = sqs.get_queue_attributes(QueueUrl=settings.queue_url, AttributeNames=["RedrivePolicy"])
    target = json.loads(policy["Attributes"]["RedrivePolicy"])["deadLetterTargetArn"]
    assert target.endswith(":floe-landing-events-dlq")


def test_the_queue_counts_what_waits_what_is_delayed_and_what_a_consumer_has(store: StoreProcess) -> None:
    sqs = client(store.settings(BUCKET), "sqs")
    queue = sqs.create_queue(QueueName="counted")["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=900)
    (received,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=600)["Messages"]
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    found = {
        name.removeprefix("ApproximateNumberOfMessages"): int(counts[name])
        for name in counts
        if "Number" in name
    }
    assert found == {"": 2, "Delayed": 1, "NotVisible": 1}
    sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"], VisibilityTimeout=0
    )
    again = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert {message["Body"] for message in again} == {"0", "1", "2"}


def test_a_batch_needs_no_more_looks_at_the_clock_from_a_longer_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "messages",
        *(f"approximate_number_of_messages_{kind}" for kind in ("delayed", "not_visible")),
    ):
        # Only this test's: moto is put back as it was.
        monkeypatch.setattr(Queue, name, getattr(Queue, name))
    long_queue.look_at_the_clock_once()
    looks = itertools.count()

    def clock() -> float:
        return 1_000_000.0 + 1000 * next(looks)

    for module in (sqs_models, long_queue):
        monkeypatch.setattr(module, "unix_time_millis", clock)

    def needed(waiting: int) -> int:
        backend = SQSBackend("eu-central-1", "000000000000")
        backend.create_queue("long", {})
        for number in range(waiting):
            backend.send_message("long", str(number))
        before = next(looks)
        backend.receive_message("long", 10, 0, 1_000_000)
        return next(looks) - before

    assert needed(20) == needed(200)


def test_a_plain_key_is_a_plain_file(store: StoreProcess, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="landing/stock/plain_2003-01-02.csv", Body=b"a,b\n1,2\n")
    assert (store.mirror / BUCKET / "landing/stock/plain_2003-01-02.csv").read_bytes() == b"a,b\n1,2\n"


def test_nothing_that_was_acknowledged_is_lost_in_a_power_cut(store: StoreProcess, s3: Any) -> None:
    for number, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket=BUCKET, Key=key, Body=f"{number}".encode())
    s3.put_object(Bucket=BUCKET, Key="landing/stock/large.csv", Body=b"x" * 20_000_000)
    before = everything(s3)
    assert set(ODD_KEYS) <= set(before)
    store.kill()
    assert not (store.mirror.parent / "outside.csv").exists()
    store.start()
    assert everything(s3) == before


def test_a_put_killed_right_after_its_answer_is_there(store: StoreProcess, s3: Any) -> None:
    s3.put_object(
        Bucket=BUCKET,
        Key="quarantine/stock/1/verdict.json",
        Body=b"{}",
        ContentType="application/json",
        Metadata={"rule": "type"},
    )
    power_cut(store)
    found = s3.get_object(Bucket=BUCKET, Key="quarantine/stock/1/verdict.json")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
        b"{}",
        "application/json",
        {"rule": "type"},
    )


def test_overwriting_copying_and_deleting_are_kept(store: StoreProcess, s3: Any) -> None:
    folder = "landing/changes"
    s3.put_object(Bucket=BUCKET, Key=f"{folder}/o.csv", Body=b"old")
    s3.put_object(Bucket=BUCKET, Key=f"{folder}/o.csv", Body=b"new")
    copied = {"Bucket": BUCKET, "Key": f"{folder}/o.csv"}
    s3.copy_object(Bucket=BUCKET, Key=f"{folder}/c.csv", CopySource=copied)
    for name in ("d1", "d2", "d 3+é"):
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/{name}.csv", Body=b"x")
    s3.delete_object(Bucket=BUCKET, Key=f"{folder}/d1.csv")
    gone = [{"Key": f"{folder}/{name}.csv"} for name in ("d2", "d 3+é")]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": gone})
    power_cut(store)
    found = {key: body for key, (body, *_) in everything(s3).items() if key.startswith(folder)}
    assert found == {f"{folder}/o.csv": b"new", f"{folder}/c.csv": b"new"}


def test_a_multipart_upload_is_kept_with_its_etag(store: StoreProcess, s3: Any) -> None:
    key = "landing/stock/parts.csv"
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    part = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    sizes = [5 << 20, 1000]
    tags = [
        s3.upload_part(**part, PartNumber=number, Body=b"x" * size)["ETag"]
        for number, size in enumerate(sizes, start=1)
    ]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, start=1)]
    answer = s3.complete_multipart_upload(**part, MultipartUpload={"Parts": parts})
    power_cut(store)
    found = s3.head_object(Bucket=BUCKET, Key=key)
    assert (found["ETag"], found["ContentLength"]) == (answer["ETag"], sum(sizes))


def test_what_a_crash_left_half_written_is_dropped(store: StoreProcess, s3: Any) -> None:
    before = everything(s3)
    store.kill()
    (store.mirror / BUCKET / "landing" / ".partial-abc").write_bytes(b"half")
    store.start()
    assert everything(s3) == before
    assert not list(store.mirror.rglob(".partial-*"))


def test_a_write_that_cannot_be_mirrored_is_not_acknowledged(store: StoreProcess, s3: Any) -> None:
    blocked = store.mirror / BUCKET / "blocked"
    blocked.write_text("a file where a folder is needed")
    with pytest.raises(s3.exceptions.ClientError, match="InternalError"):
        s3.put_object(Bucket=BUCKET, Key="blocked/f.csv", Body=b"x")
    blocked.unlink()
    s3.put_object(Bucket=BUCKET, Key="blocked/f.csv", Body=b"x")


def test_moto_cannot_be_reset_behind_the_mirror(store: StoreProcess, s3: Any) -> None:
    assert httpx.post(f"{store.url}/moto-api/reset", trust_env=False).status_code == 403
    s3.head_bucket(Bucket=BUCKET)


def test_it_ends_in_good_order_when_asked(store: StoreProcess) -> None:
    assert store.stop() == 0
    store.start()


def test_only_this_machine_can_reach_it(store: StoreProcess) -> None:
    assert store.process is not None
    listening = [
        each.laddr.ip
        for each in psutil.Process(store.process.pid).net_connections()
        if each.status == "LISTEN"
    ]
    assert listening == ["127.0.0.1"]


def test_mirror_folder_may_hold_spaces(tmp_path: Path) -> None:
    with running_store(tmp_path / "a folder", BUCKET) as running:
        s3 = client(running.settings(BUCKET), "s3")
        s3.put_object(Bucket=BUCKET, Key="landing/f.csv", Body=b"x")
        power_cut(running)
        assert list(everything(s3)) == ["landing/f.csv"]
