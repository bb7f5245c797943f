"""Real receivers of alerts: an HTTP server that keeps what is posted, an SMTP server that keeps mails."""

from __future__ import annotations

import json
import queue
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_string, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast


class Received:
    """What has arrived, in its order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        self.put = self._queue.put

    def next(self, seconds: float = 60) -> Any:
        """Wait for the next one."""
        return self._queue.get(timeout=seconds)

    def within(self, seconds: float) -> list[Any]:
        """Wait as long for the next one, which may not come."""
        try:
            return [self.next(seconds)]
        except queue.Empty:
            return []

    def upto(self, is_last: Callable[[Any], bool]) -> list[Any]:
        """Wait until one arrives that `is_last`; return all until then."""
        arrived = [self.next()]
        while not is_last(arrived[-1]):
            arrived.append(self.next())
        return arrived


@contextmanager
def http_receiver() -> Iterator[tuple[str, Received]]:
    """Serve on a free port; yield the server's root and what was posted as JSON."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put(json.loads(body) | {"content type": self.headers["Content-Type"]})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}", received


@contextmanager
def smtp_receiver() -> Iterator[tuple[int, Received]]:
    """Serve SMTP without encryption; yield the port and the mails that arrived."""
    received = Received()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "DATA":
                    self._say("354 go on")
                    received.put(self._mail())
                self._say("221 bye" if verb == "QUIT" else "250 fine")
                if verb == "QUIT":
                    return

        def _mail(self) -> EmailMessage:
            lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
            return cast(EmailMessage, message_from_string("".join(lines), policy=policy.default))

        def _say(self, answer: str) -> None:
            self.wfile.write(f"{answer}\r\n".encode())

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, received


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
