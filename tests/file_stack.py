"""What tests of the file path share: a real object store process, a bucket with its queues, a lake.

The object store is the laptop's own (`deployments.local.object_store`), started once; each stack
gets a bucket, queues and a notification of its own in it, and a lake of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from pydantic import SecretStr

from deployments.local.event_source import EventSource
from lambda_csv_loader.ducklake import DuckLakeSettings, connect
from lambda_csv_loader.handler import handler, loader
from lambda_csv_loader.load import Loader
from lambda_csv_loader.object_store import ObjectRef, client
from lambda_csv_loader.queues import QueueDepths, Queues
from lambda_csv_loader.settings import LoaderSettings, ObjectStoreSettings, SnowflakeSettings
from lambda_csv_loader.snowflake_session import open_snowflake
from tests.postgres_server import free_port

_numbers = itertools.count(1)
ROOT = Path(__file__).resolve().parents[1]


@dataclass
class StoreProcess:
    """A running object store, with the folder it mirrors to."""

    port: int
    mirror: Path
    log: Path
    buckets: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "deployments.local.object_store", "--port", str(self.port)]
        command += [
            "--mirror",
            str(self.mirror),
            *(word for name in self.buckets for word in ("--bucket", name)),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/moto-api/", timeout=5, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def stop(self) -> int:
        """Ask it to end; return its status."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.process = None
        return status

    def settings(self, bucket: str) -> ObjectStoreSettings:
        return ObjectStoreSettings(
            bucket=bucket,
            queue_url=f"{self.url}/123456789012/{bucket}-events",
            dead_letter_queue_url=f"{self.url}/123456789012/{bucket}-events-dlq",
            endpoint_url=self.url,
            access_key_id="floe-laptop",
            secret_access_key="not-checked",
        )


@contextlib.contextmanager
def running_store(folder: Path, *buckets: str) -> Iterator[StoreProcess]:
    folder.mkdir(parents=True, exist_ok=True)
    store = StoreProcess(free_port(), folder / "mirror", folder / "object-store.log", buckets)
    store.start()
    try:
        yield store
    finally:
        store.kill()


@dataclass
class FileStack:
    """A bucket, its queues, a warehouse and a folder of contracts, with the handler behind the queue."""

    store: ObjectStoreSettings
    warehouse: DuckLakeSettings | SnowflakeSettings
    datasets: Path
    s3: Any = field(init=False)
    sqs: Any = field(init=False)
    queues: Queues = field(init=False)
    _source: EventSource = field(init=False)
    _connection: Any = None

    def __post_init__(self) -> None:
        self._source = EventSource(self.store, handler, retry_seconds=0, wait_seconds=0)
        self.s3, self.sqs, self.queues = (
            client(self.store, "s3"),
            client(self.store, "sqs"),
            Queues(self.store),
        )

    def settings(self) -> LoaderSettings:
        return LoaderSettings(
            object_store=self.store.model_dump(),
            warehouse=self.warehouse.model_dump(),
            datasets=self.datasets,
        )

    def environment(self) -> dict[str, str]:
        """Return the variables from which another process builds the same settings."""
        variables = {}
        for room, settings in (("OBJECT_STORE", self.store), ("WAREHOUSE", self.warehouse)):
            for name, value in settings.model_dump().items():
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                if plain is not None:
                    variables[f"FLOE_{room}__{name.upper()}"] = str(plain)
        return variables | {"FLOE_DATASETS": str(self.datasets), "POWERTOOLS_DEV": "0"}

    def contract(self, dataset: str, text: str) -> None:
        (self.datasets / f"{dataset}.yaml").write_text(f"dataset: {dataset}\nowner: tests\n{text}")

    def put(self, key: str, body: bytes | str, **more: Any) -> str:
        """Put an object; return its key."""
        data = body.encode() if isinstance(body, str) else body
        self.s3.put_object(Bucket=self.store.bucket, Key=key, Body=data, **more)
        return key

    def ref(self, key: str) -> ObjectRef:
        return ObjectRef(self.store.bucket, key)

    def handle(self) -> int:
        """Let the event source hand what is in the queue to the handler, once; return the messages."""
        return self._source.poll()

    def drain(self) -> None:
        while self.handle():
            continue

    def lose_events(self) -> None:
        """Empty both queues, as a restart of the laptop's object store does."""
        for url in (self.store.queue_url, self.store.dead_letter_queue_url):
            while found := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
                entries = [
                    {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
                    for number, each in enumerate(found)
                ]
                self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    def loader(self) -> Loader:
        """Return a loader that shares nothing with the handler's."""
        return Loader.from_settings(self.settings())

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = (
                connect(self.warehouse, threads=1)
                if isinstance(self.warehouse, DuckLakeSettings)
                else open_snowflake(self.warehouse)
            )
        on_lake = isinstance(self.warehouse, DuckLakeSettings)
        reader = self._connection if on_lake else self._connection.cursor()
        return list(reader.execute(statement).fetchall())

    def forget_connection(self) -> None:
        """Open a new connection for the next query."""
        self._connection = None

    def ledger(self, key: str) -> list[tuple[Any, ...]]:
        """Return (status, reason, rows_loaded) of every version of a key."""
        return self.query(
            "select status, reason, rows_loaded from ops.csv_files "
            f"where key = {_text(key)} order by last_modified, recorded_at"
        )

    def verdict(self, key: str) -> dict[str, Any]:
        """Return the verdict of the one quarantined version of a key."""
        ((verdict_key,),) = self.query(
            f"select verdict_key from ops.csv_files where key = {_text(key)} and status = 'quarantined'"
        )
        found: dict[str, Any] = json.load(self.object(verdict_key))
        return found

    def object(self, key: str) -> Any:
        return self.s3.get_object(Bucket=self.store.bucket, Key=key)["Body"]

    def depths(self) -> QueueDepths:
        return self.queues.depths()


STOCK = """
mode: append
primary_key: [day_id, item]
max_megabytes: 30
columns:
  - {name: day_id, type: bigint, nullable: false, min: 1}
  - {name: item, type: bigint, nullable: false}
  - {name: quantity, type: integer, min: 0}
"""


class Cluster(Protocol):
    """The part of the `cluster` fixture that a lake needs."""

    port: int
    passfile: Path

    def create_database(self, prefix: str = ...) -> str: ...


def new_stack(store: StoreProcess, cluster: Cluster, extensions: Path, folder: Path) -> FileStack:
    """Make a bucket, a lake and the contract of the dataset `stock`."""
    lake = DuckLakeSettings(
        port=cluster.port,
        database=cluster.create_database("lake"),
        passfile=cluster.passfile,
        data_path=folder / "lake",
        extension_directory=extensions,
    )
    return stack_on(lake, store, folder)


def stack_on(warehouse: DuckLakeSettings | SnowflakeSettings, store: StoreProcess, folder: Path) -> FileStack:
    """Make a bucket and the contract of the dataset `stock` for a warehouse."""
    datasets = folder / "datasets"
    datasets.mkdir()
    made = FileStack(make_bucket(store, f"floe-test-{next(_numbers)}"), warehouse, datasets)
    made.contract("stock", STOCK)
    return made


def make_bucket(store: StoreProcess, name: str) -> ObjectStoreSettings:
    """Create a bucket, its queues and the notification, through the APIs as in AWS."""
    settings = store.settings(name)
    s3, sqs = client(settings, "s3"), client(settings, "sqs")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": settings.region})

    def queue(queue_name: str, **attributes: str) -> str:
        url = sqs.create_queue(QueueName=queue_name, Attributes=attributes)["QueueUrl"]
        arn: str = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        return arn

    dead = queue(f"{name}-events-dlq")
    live = queue(
        f"{name}-events",
        VisibilityTimeout="60",
        RedrivePolicy=json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "3"}),
    )
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "landing/"}]}}
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": live, "Events": ["s3:ObjectCreated:*"], "Filter": rule}]
        },
    )
    return settings


@contextlib.contextmanager
def handler_environment(stack: FileStack) -> Iterator[None]:
    """Let the handler of this process work for `stack`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            patch.setenv(name, value)
        loader.cache_clear()
        try:
            yield
        finally:
            loader().close()
            loader.cache_clear()


def python(code: str, stack: FileStack, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python process in the repository with the stack's settings in its environment."""
    environment = {**os.environ, **stack.environment()}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def next_second() -> None:
    """Wait until the store gives the next upload a later time: it tells seconds, as S3 does."""
    time.sleep(1.01 - time.time() % 1)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
