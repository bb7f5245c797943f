"""An HTTP server on loopback that answers as a test tells it, faults included, and remembers the calls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer: JSON, raw text, or a fault of the connection."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: str | None = None
    fault: str | None = None  # "slow": never answers; "reset": hangs up


Script = dict[str, list[Answer] | Callable[[int], Answer]]


class ScriptedServer:
    """Answers "METHOD /path" with the next answer of its script; the last one again and again."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[str] = []
        self.bodies: list[tuple[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                owner.answer(self)

            do_GET = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def times(self, call: str) -> int:
        """Return how often a call came."""
        return self.asked.count(call)

    def found(self, call: str, number: int) -> Answer:
        """Return what is answered to a call for the n-th time it comes."""
        entry = self.script.get(call, [Answer(404, {"detail": f"no script for {call}"})])
        return entry(number) if callable(entry) else entry[min(number, len(entry)) - 1]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        call = f"{request.command} {request.path.partition('?')[0]}"
        content = request.rfile.read(int(request.headers.get("content-length") or 0))
        with self._lock:
            self.asked.append(call)
            number = self.asked.count(call)
            self.bodies.append((call, content))
            self.authorizations.append(request.headers.get("authorization"))
        found = self.found(call, number)
        if found.fault == "slow":
            self.ended.wait(30)
        if found.fault:
            request.close_connection = True
            request.connection.close()
            return
        payload = found.raw if found.raw is not None else json.dumps(found.body)
        request.send_response(found.status)
        for name, value in found.headers.items():
            request.send_header(name, value)
        request.send_header("content-type", "application/json" if found.raw is None else "text/html")
        request.send_header("content-length", str(len(payload.encode())))
        request.end_headers()
        request.wfile.write(payload.encode())


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedServer]:
    """Run a scripted server."""
    server = ScriptedServer(script)
    server.start()
    try:
        yield server
    finally:
        server.stop()
