"""Loopback ports of the stack: last time's, else the usual ones, else any free one."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path

USUAL = {
    "prefect": 4200,
    "dashboards": 8088,
    "airbyte": 8006,
    "object-store": 5555,
    "postgres-sources": 54320,
    "postgres-platform": 54321,
    "supervisor": 9101,
}


def choose(file: Path, usual: Mapping[str, int] = USUAL) -> tuple[dict[str, int], list[str]]:
    """Choose a free port for each service and remember the choice.

    Args:
        file: where the last choice is kept (JSON).
        usual: the ports to try first, by service.

    Returns:
        The ports, and a sentence for each service that could not have the port a reader expects.
    """
    last = json.loads(file.read_text()) if file.exists() else {}
    ports: dict[str, int] = {}
    notes: list[str] = []
    for service, port in usual.items():
        wanted = int(last.get(service, port))
        chosen = next((p for p in (wanted, port) if p not in ports.values() and is_free(p)), None)
        ports[service] = chosen or _any_free(set(ports.values()))
        if ports[service] != wanted:
            notes.append(f"Port {wanted} is in use, so {service} listens on {ports[service]}")
    file.write_text(json.dumps(ports, indent=2) + "\n")
    return ports, notes


def is_free(port: int) -> bool:
    """Tell whether nothing listens on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_free(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
