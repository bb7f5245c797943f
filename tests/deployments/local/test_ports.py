"""Ports: the usual one, last time's, or another that is named."""

from __future__ import annotations

import socket
from pathlib import Path

from deployments.local.ports import choose
from tests.postgres_server import free_port


def test_a_busy_port_is_replaced_and_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        ports, notes = choose(tmp_path / "ports.json", {"prefect": busy})
    assert ports["prefect"] != busy
    assert notes == [f"Port {busy} is in use, so prefect listens on {ports['prefect']}"]


def test_the_port_of_last_time_is_kept(tmp_path: Path) -> None:
    first, _ = choose(tmp_path / "ports.json", {"prefect": free_port()})
    again, notes = choose(tmp_path / "ports.json", {"prefect": free_port()})
    assert (again, notes) == (first, [])


def test_two_services_never_share_a_port(tmp_path: Path) -> None:
    port = free_port()
    ports, _ = choose(tmp_path / "ports.json", {"prefect": port, "airbyte": port})
    assert ports["prefect"] == port != ports["airbyte"]
