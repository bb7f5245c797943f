"""The Lambda function: messages, partial responses, what it logs, and the real runtime client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from file_stack import ROOT, FileStack, handler_environment, python
from runtime_api import VARIABLES, RuntimeApi

from lambda_csv_loader.errors import TransientError
from lambda_csv_loader.events import NotAnEvent, objects_of
from lambda_csv_loader.handler import handler
from lambda_csv_loader.object_store import Bucket, ObjectRef
from lambda_csv_loader.queues import Queues, QueueUnavailable
from tests.postgres_server import free_port

HEAD = "day_id,item,quantity\n"


def message(stack: FileStack, key: str, number: int = 0) -> dict[str, Any]:
    body = {
        "Records": [
            {
                "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": stack.store.bucket}, "object": {"key": key}},
            }
        ]
    }
    return {"messageId": f"m{number}", "body": json.dumps(body), "eventSource": "aws:sqs", "attributes": {}}


@pytest.mark.parametrize(
    "body",
    ["hello", "[]", "{}", '{"Records": [{}]}', '{"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}'],
)
def test_what_is_no_event_is_not_acknowledged(body: str) -> None:
    with pytest.raises(NotAnEvent):
        objects_of(body)


def test_deletions_are_nothing_to_load() -> None:
    event = {"eventName": "ObjectRemoved:Delete", "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}
    assert objects_of(json.dumps({"Records": [event]})) == []


def test_key_is_decoded_like_a_form_field() -> None:
    event = {
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": "in/a+b%2B%C3%A9%2525.csv", "sequencer": "0A"}},
    }
    assert objects_of(json.dumps({"Records": [event]})) == [ObjectRef("b", "in/a b+é%25.csv", sequencer="0A")]


def test_a_poison_message_fails_alone_and_ends_in_the_dead_letter_queue(stack: FileStack) -> None:
    key = stack.put("landing/stock/beside-poison.csv", HEAD + "1,1,1\n")
    stack.sqs.send_message(QueueUrl=stack.store.queue_url, MessageBody="poison")
    assert stack.handle() == 2
    assert stack.ledger(key) == [("loaded", None, 1)]
    stack.drain()
    depths = stack.depths()
    assert (depths.waiting, depths.dead) == (0, 1)
    assert stack.queues.redrive() == 1
    assert stack.depths().waiting == 1
    stack.drain()


def test_a_bad_file_beside_good_ones_is_acknowledged_with_them(stack: FileStack) -> None:
    event = {
        "Records": [
            message(stack, stack.put("landing/stock/g1.csv", HEAD + "2,1,1\n"), 1),
            message(stack, stack.put("landing/stock/bad.csv", HEAD + "x,1,1\n"), 2),
            message(stack, stack.put("landing/stock/g2.csv", HEAD + "3,1,1\n"), 3),
        ]
    }
    assert handler(event, None) == {"batchItemFailures": []}
    assert stack.query("select count(*) from ops.csv_files where status = 'quarantined'") == [(1,)]
    stack.drain()


POLL_ONCE = """
import logging
from deployments.local.event_source import EventSource
from lambda_csv_loader.handler import handler
from lambda_csv_loader.settings import load_settings

logging.basicConfig(level=logging.INFO)
EventSource(load_settings().object_store, handler).poll()
"""


def test_logs_hold_no_secret_and_no_value_of_a_row(stack: FileStack) -> None:
    stack.put("landing/stock/secretive.csv", HEAD + "7001,7002,7003\nseventhousand,7002,7004\n")
    stack.put("landing/stock/open.csv", HEAD + "7001,7002,7003\n")
    said, _ = python(POLL_ONCE, stack).communicate(timeout=60)
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert sorted(line["status"] for line in lines) == ["loaded", "quarantined"]
    for hidden in ("not-checked", "seventhousand", "7002"):
        assert hidden not in said


def test_logs_name_values_where_that_is_asked_for(stack: FileStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOE_LOG_ROW_DATA", "true")
    stack.put("landing/stock/talkative.csv", HEAD + "7005,7006,1\n7005,7006,2\n")
    said, _ = python(POLL_ONCE, stack).communicate(timeout=60)
    assert "= 7005, 7006 is in the file already" in said
    assert "not-checked" not in said


def test_55_archived_object_is_refused_for_good(stack: FileStack) -> None:
    key = stack.put("landing/stock/cold.csv", HEAD + "1,1,1\n", StorageClass="GLACIER")
    stack.drain()
    ((status, reason, _),) = stack.ledger(key)
    assert (status, reason) == ("quarantined", f"unreadable: {key!r} is archived (Glacier)")


class Refusing(BaseHTTPRequestHandler):
    """An object store that answers everything with one error."""

    status, code = 500, "InternalError"

    def do_GET(self) -> None:
        body = f"<Error><Code>{self.code}</Code><Message>no</Message></Error>".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 02 Jan 2003 12:00:00 GMT")
        self.send_header("Content-Length", "20")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.mark.parametrize(
    ("status", "code"), [(400, "KMS.DisabledException"), (403, "AccessDenied")], ids=["kms", "denied"]
)
def test_55_object_whose_key_is_denied_waits_and_is_loaded_later(
    stack: FileStack, status: int, code: str
) -> None:
    key = stack.put(f"landing/stock/{code}.csv", HEAD + f"{status},1,1\n")
    answering = type("Answering", (Refusing,), {"status": status, "code": code})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    denied = stack.store.model_copy(update={"endpoint_url": f"http://127.0.0.1:{server.server_port}"})
    try:
        with handler_environment(FileStack(denied, stack.warehouse, stack.datasets)):
            assert stack.handle() == 1
    finally:
        server.shutdown()
        server.server_close()
    assert (stack.depths().waiting, stack.ledger(key)) == (1, [])
    with handler_environment(stack):
        stack.drain()
    assert stack.ledger(key) == [("loaded", None, 1)]


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (400, "KMS.DisabledException"), (503, "SlowDown")],
)
def test_refusals_that_people_or_time_mend_are_retried(stack: FileStack, status: int, code: str) -> None:
    answering = type("Answering", (Refusing,), {"status": status, "code": code})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        bucket = Bucket(stack.store.model_copy(update={"endpoint_url": url}))
        with pytest.raises(TransientError, match=code):
            bucket.open(ObjectRef(stack.store.bucket, "landing/stock/f.csv", etag="e"))
    finally:
        server.shutdown()
        server.server_close()


def test_object_store_that_is_away_is_retried(stack: FileStack) -> None:
    away = stack.store.model_copy(update={"endpoint_url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(TransientError, match="does not answer"):
        Bucket(away).head("landing/stock/f.csv")


def test_queue_that_is_away_is_said_so(stack: FileStack) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    away = stack.store.model_copy(
        update={"endpoint_url": url, "dead_letter_queue_url": f"{url}/123456789012/dead"}
    )
    with pytest.raises(QueueUnavailable, match="The queue dead does not answer: EndpointConnectionError"):
        Queues(away).redrive()


@pytest.fixture
def runtime(stack: FileStack) -> Iterator[RuntimeApi]:
    command = [sys.executable, "-m", "awslambdaric", "lambda_csv_loader.handler.handler"]
    with RuntimeApi() as api:
        environment = {
            **os.environ,
            **stack.environment(),
            **VARIABLES,
            "AWS_LAMBDA_RUNTIME_API": api.address,
        }
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        yield api
        process.kill()
        process.wait(20)
    stack.drain()


def test_real_runtime_client_runs_the_handler(stack: FileStack, runtime: RuntimeApi) -> None:
    key = stack.put("landing/stock/by-runtime.csv", HEAD + "8,1,1\n")
    assert runtime.invoke({"Records": [message(stack, key)]}) == {"batchItemFailures": []}
    assert stack.query(
        "select status, request_id from ops.csv_files where key = 'landing/stock/by-runtime.csv'"
    ) == [("loaded", "request-1")]
