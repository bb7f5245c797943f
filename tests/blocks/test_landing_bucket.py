"""The block of the landing bucket: what it hands to the Lambda function, and what it makes of answers."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import blocks.object_store as room
from blocks.object_store import LandingBucket
from lambda_csv_loader.errors import FloeError, PermanentError, TransientError
from lambda_csv_loader.events import objects_of
from lambda_csv_loader.object_store import ObjectRef
from lambda_csv_loader.settings import LoaderSettings

REFS = [ObjectRef("b", "landing/stock/a b+ü.csv", etag="1"), ObjectRef("b", "landing/stock/c.csv", etag="2")]


class LambdaService:
    """The Invoke call of AWS Lambda: answers as it is told and keeps what it was sent.

    https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    """

    def __init__(self) -> None:
        self.status, self.headers, self.answer, self.seconds = 200, {}, {"batchItemFailures": []}, 0.0
        self.sent: list[tuple[str, dict[str, Any]]] = []
        outer = self

        class Api(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.sent.append((self.path, json.loads(body)))
                time.sleep(outer.seconds)
                answer = json.dumps(outer.answer).encode()
                self.send_response(outer.status)
                for name, value in {**outer.headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[LambdaService]:
    made = LambdaService()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def landing(service: LambdaService, monkeypatch: pytest.MonkeyPatch) -> LandingBucket:
    """The block as `register` makes it from the settings."""
    store = {
        "BUCKET": "b",
        "QUEUE_URL": "q",
        "DEAD_LETTER_QUEUE_URL": "d",
        "ENDPOINT_URL": f"http://127.0.0.1:{service.server.server_port}",
        "ACCESS_KEY_ID": "key",
        "SECRET_ACCESS_KEY": "secret",
        "FUNCTION_NAME": "floe-csv-loader",
    }
    for name, value in store.items():
        monkeypatch.setenv(f"FLOE_OBJECT_STORE__{name}", value)
    lake = {"PORT": "1", "PASSFILE": "p", "DATA_PATH": "d", "EXTENSION_DIRECTORY": "e", "TYPE": "ducklake"}
    for name, value in lake.items():
        monkeypatch.setenv(f"FLOE_WAREHOUSE__{name}", value)
    return LandingBucket(**LoaderSettings().object_store.model_dump())


def test_files_are_handed_to_the_function_as_events(service: LambdaService, landing: LandingBucket) -> None:
    assert landing.load_files(REFS, "run") == {}
    ((path, payload),) = service.sent
    assert path == "/2015-03-31/functions/floe-csv-loader/invocations"
    found = [ref for record in payload["Records"] for ref in objects_of(record["body"])]
    assert found == [ObjectRef("b", ref.key) for ref in REFS]


def test_files_that_the_function_names_have_failed(service: LambdaService, landing: LandingBucket) -> None:
    service.answer = {"batchItemFailures": [{"itemIdentifier": REFS[1].file_id}]}
    (failure,) = landing.load_files(REFS, "run").items()
    assert (failure[0], failure[1].what) == (REFS[1].key, "the function could not load it")


@pytest.mark.parametrize(
    ("status", "headers", "answer", "kind", "said"),
    [
        (
            200,
            {"X-Amz-Function-Error": "Unhandled"},
            {"errorType": "Runtime.ExitError", "errorMessage": "out of memory"},
            PermanentError,
            "failed: Runtime.ExitError: out of memory",
        ),
        (
            429,
            {"x-amzn-ErrorType": "TooManyRequestsException"},
            {},
            TransientError,
            "answered TooManyRequestsException",
        ),
        (500, {"x-amzn-ErrorType": "ServiceException"}, {}, TransientError, "answered ServiceException"),
        (
            404,
            {"x-amzn-ErrorType": "ResourceNotFoundException"},
            {},
            PermanentError,
            "answered ResourceNotFoundException",
        ),
    ],
    ids=["function-error", "throttled", "service-error", "no-function"],
)
def test_an_error_is_the_reason_of_every_file_and_nothing_is_sent_twice(
    service: LambdaService,
    landing: LandingBucket,
    status: int,
    headers: dict[str, str],
    answer: dict[str, str],
    kind: type[FloeError],
    said: str,
) -> None:
    service.status, service.headers, service.answer = status, headers, answer
    failures = landing.load_files(REFS, "run")
    assert {key: failure.what for key, failure in failures.items()} == {
        ref.key: f"the function floe-csv-loader {said}" for ref in REFS
    }
    assert all(isinstance(failure, kind) for failure in failures.values())
    assert len(service.sent) == 1


def test_a_function_that_does_not_answer_in_time_is_not_invoked_again(
    service: LambdaService, landing: LandingBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten seconds less than the function may run leaves one second: a test cannot wait 15 minutes.
    monkeypatch.setattr(room, "FUNCTION_SECONDS", -9)
    service.seconds = 2.5
    failures = landing.load_files(REFS, "run")
    assert {(failure.what, isinstance(failure, TransientError)) for failure in failures.values()} == {
        ("the function floe-csv-loader does not answer: ReadTimeoutError", False)
    }
    assert len(service.sent) == 1


def test_verdicts_have_an_address_for_people(landing: LandingBucket) -> None:
    key = "quarantine/stock/1/verdict.json"
    assert landing.url(key) == f"{landing.endpoint_url}/b/{key}"
    assert landing.model_copy(update={"endpoint_url": None}).url(key) == (
        "https://eu-central-1.console.aws.amazon.com/s3/object/b"
        "?region=eu-central-1&prefix=quarantine%2Fstock%2F1%2Fverdict.json"
    )
