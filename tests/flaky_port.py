"""A port before a real server that hangs up on its first callers, as a server that just restarts does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class FlakyPort:
    """Hangs up on callers as often as it is told to, and lets all others through to a server.

    Attributes:
        behind: the server's port.
        hang_ups: how many callers to hang up on, by the first bytes that they send; `b""` means anybody.
    """

    behind: int
    hang_ups: dict[bytes, int] = field(default_factory=dict)
    _socket: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._socket.accept()
                if self._hangs_up(caller):
                    caller.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.behind))
                for source, target in ((caller, server), (server, caller)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()

    def _hangs_up(self, caller: socket.socket) -> bool:
        for words, left in self.hang_ups.items():
            if left and words == caller.recv(len(words), socket.MSG_PEEK):
                self.hang_ups[words] -= 1
                return True
        return False

    def close(self) -> None:
        # A thread in `accept` does not notice that its socket is closed, but that it is shut down.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@contextlib.contextmanager
def flaky_port(behind: int) -> Iterator[FlakyPort]:
    """Open such a port; nobody is hung up on until the test says so."""
    flaky = FlakyPort(behind)
    thread = threading.Thread(target=flaky.serve, daemon=True)
    thread.start()
    try:
        yield flaky
    finally:
        flaky.close()
        thread.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
