"""The Prefect server of a company: it does not start unprotected, and tells nothing without the password."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.fernet import Fernet
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from blocks.errors import ConfigurationError
from deployments.local.services import answers
from deployments.prefect_server import refuse_unprotected
from tests.postgres_server import free_port

COMMAND = [sys.executable, "-m", "deployments.prefect_server"]
PASSWORD, SECRET = "admin:T0PSECRET", "hidden from all"
KEY = Fernet.generate_key().decode()
PROTECTED = {"PREFECT_SERVER_API_AUTH_STRING": PASSWORD, "PREFECT_SERVER_ENCRYPTION_KEY": KEY}
# For load balancers; it says true.
OPEN = {"/health", "/ready"}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param(
            {"PREFECT_SERVER_API_AUTH_STRING": ""}, "PREFECT_SERVER_API_AUTH_STRING", id="no password"
        ),
        pytest.param({"PREFECT_SERVER_ENCRYPTION_KEY": ""}, "PREFECT_SERVER_ENCRYPTION_KEY", id="no key"),
        pytest.param(
            {"PREFECT_SERVER_ENCRYPTION_KEY": "short"}, "PREFECT_SERVER_ENCRYPTION_KEY", id="a bad key"
        ),
    ],
)
def test_an_unprotected_environment_is_refused(changed: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{problem} is not set") as caught:
        refuse_unprotected(PROTECTED | changed)
    assert PASSWORD not in str(caught.value)


def test_a_protected_environment_is_not_refused() -> None:
    refuse_unprotected(PROTECTED)


@pytest.mark.thorough
def test_it_does_not_start_unprotected(tmp_path: Path) -> None:
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_ENCRYPTION_KEY": KEY}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: PREFECT_SERVER_API_AUTH_STRING is not set")
    assert "State: the server was not started" in done.stderr


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A protected server with a secret in one of its blocks."""
    home, port = tmp_path_factory.mktemp("protected"), free_port()
    environment = {
        **os.environ,
        **PROTECTED,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
    }
    url = f"http://127.0.0.1:{port}/api"
    with (home / "log").open("w") as log:
        server = subprocess.Popen([*COMMAND, "--port", str(port)], env=environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while not answers(f"{url}/health")():
                assert server.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.2)
            saving = (
                "from prefect.blocks.system import Secret; import sys; Secret(value=sys.argv[1]).save('kept')"
            )
            client = {**os.environ, "PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": PASSWORD}
            subprocess.run([sys.executable, "-c", saving, SECRET], env=client, check=True)
            yield url
        finally:
            server.terminate()
            server.wait(20)


def routes() -> list[tuple[str, str]]:
    """Return every method and path of Prefect's API, with some id where one belongs."""
    from prefect.server.api.server import create_api_app

    found = [
        (method.upper(), re.sub(r"{[^}]*}", str(uuid4()), path))
        for path, methods in create_api_app().openapi()["paths"].items()
        for method in methods
    ]
    assert len(found) > 150
    return found


@pytest.mark.thorough
def test_nobody_without_the_password_gets_anything_from_any_route(api: str) -> None:
    asked = {"include_secrets": True, "limit": 10}
    with (
        httpx.Client(base_url=api) as nobody,
        httpx.Client(base_url=api, auth=("admin", "guess")) as guessing,
    ):
        for client in (nobody, guessing):
            for method, path in routes():
                if path in OPEN and method == "GET":
                    continue
                answer = client.request(method, path, json=asked)
                assert answer.status_code == 401, (method, path)
                assert answer.json() == {"exception_message": "Unauthorized"}
        healthy = [nobody.get(path).text for path in sorted(OPEN)]
        assert all(len(text) < 40 for text in healthy)


@pytest.mark.thorough
def test_the_password_opens_it_and_the_secret_is_there_to_be_kept(api: str) -> None:
    asked = {"include_secrets": True}
    answer = httpx.post(f"{api}/block_documents/filter", json=asked, auth=tuple(PASSWORD.split(":")))
    assert SECRET in answer.text


@pytest.mark.thorough
@pytest.mark.parametrize(
    "path",
    [
        *("/events/in", "/events/out", "/logs/out"),
        *("/task_runs/subscriptions/scheduled", "/work_pools/any/workers/connect"),
    ],
)
@pytest.mark.parametrize("first", [None, {"type": "auth", "token": "admin:guess"}])
def test_nobody_without_the_password_gets_anything_from_a_socket(
    api: str, path: str, first: dict[str, Any] | None
) -> None:
    with connect(api.replace("http", "ws", 1) + path, subprotocols=["prefect"], proxy=None) as socket:
        if first is not None:
            socket.send(json.dumps(first))
        else:
            socket.send(json.dumps({"type": "filter", "filter": {}}))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
