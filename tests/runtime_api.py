"""The Lambda Runtime API: hands one event at a time to a function and keeps its answer.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import itertools
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VARIABLES = {
    "AWS_LAMBDA_FUNCTION_NAME": "floe-csv-loader",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
}
"""What Lambda sets beside the address of the API."""


class FunctionFailed(Exception):
    """The function answered with an error."""


class RuntimeApi:
    """A Runtime API on a port of 127.0.0.1; a context manager that ends it."""

    def __init__(self) -> None:
        """Start listening."""
        self._numbers = itertools.count(1)
        self._events: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        events, answers = self._events, self._answers

        class Api(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request_id, event = events.get()
                body = json.dumps(event).encode()
                self.send_response(200)
                # The native client ends in a segmentation fault when one of these is missing.
                self.send_header("Content-Type", "application/json")
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
                self.send_header("Lambda-Runtime-Aws-Request-Id", request_id)
                self.send_header("Lambda-Runtime-Deadline-Ms", "9999999999999")
                self.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:f"
                )
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                answers.put((self.path, json.loads(sent)))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Return the value for `AWS_LAMBDA_RUNTIME_API`."""
        return f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: dict[str, Any], timeout: float = 60) -> dict[str, Any]:
        """Hand `event` to the function and return its answer.

        Raises:
            FunctionFailed: it ended with an error, or could not be initialised.
            queue.Empty: it did not answer in time.
        """
        request_id = f"request-{next(self._numbers)}"
        self._events.put((request_id, event))
        path, answer = self._answers.get(timeout=timeout)
        if path != f"/2018-06-01/runtime/invocation/{request_id}/response":
            raise FunctionFailed(f"{path}: {answer}")
        result: dict[str, Any] = answer
        return result

    def __enter__(self) -> RuntimeApi:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
