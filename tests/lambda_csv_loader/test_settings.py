"""Settings from the environment and from Secrets Manager, which a small server of moto plays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from file_stack import FileStack, handler_environment
from moto.server import ThreadedMotoServer

from lambda_csv_loader.handler import loader
from lambda_csv_loader.settings import BadSettings, load_settings
from tests.postgres_server import free_port


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Secrets Manager, where `FLOE_SECRET_ID` finds it."""
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "FLOE_SECRET_ID": "floe/loader",
    }.items():
        monkeypatch.setenv(name, value)
    manager = boto3.client("secretsmanager")
    yield manager
    manager.delete_secret(SecretId="floe/loader", ForceDeleteWithoutRecovery=True)
    server.stop()


STORE = {
    "FLOE_OBJECT_STORE__BUCKET": "b",
    "FLOE_OBJECT_STORE__QUEUE_URL": "q",
    "FLOE_OBJECT_STORE__DEAD_LETTER_QUEUE_URL": "d",
}
SNOWFLAKE = {
    "FLOE_WAREHOUSE__TYPE": "snowflake",
    "FLOE_WAREHOUSE__ACCOUNT": "a",
    "FLOE_WAREHOUSE__USER": "u",
    "FLOE_WAREHOUSE__PRIVATE_KEY": "hidden-key",
    "FLOE_WAREHOUSE__ROLE": "r",
    "FLOE_WAREHOUSE__WAREHOUSE": "w",
    "FLOE_WAREHOUSE__DATABASE": "d",
}


def test_the_secret_fills_what_the_environment_leaves_open(
    secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STORE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FLOE_WAREHOUSE__USER", "plain")
    secrets.create_secret(Name="floe/loader", SecretString=json.dumps(SNOWFLAKE | {"OTHER": "x"}))
    settings: Any = load_settings()
    assert (settings.warehouse.user, settings.warehouse.private_key.get_secret_value()) == (
        "plain",
        "hidden-key",
    )
    assert not {"FLOE_WAREHOUSE__PRIVATE_KEY", "OTHER"} & os.environ.keys()
    assert "hidden-key" not in repr(settings)


def test_what_is_missing_is_named_and_no_value_is_shown(
    secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in STORE.items():
        monkeypatch.setenv(name, value)
    incomplete = {name: value for name, value in SNOWFLAKE.items() if not name.endswith("ROLE")}
    secrets.create_secret(Name="floe/loader", SecretString=json.dumps(incomplete))
    with pytest.raises(BadSettings, match="FLOE_WAREHOUSE__SNOWFLAKE__ROLE: Field required") as raised:
        load_settings()
    assert "hidden-key" not in str(raised.value)


def test_a_rotated_secret_is_read_after_the_warehouse_refused(
    stack: FileStack, secrets: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tmp_path / "old.passfile"
    old.write_text(f"*:*:*:*:not-the-password-{tmp_path.name}\n")
    old.chmod(0o600)
    secret = {"FLOE_WAREHOUSE__PASSFILE": str(old)}
    secrets.create_secret(Name="floe/loader", SecretString=json.dumps(secret))
    first = stack.put("landing/stock/first.csv", "day_id,item,quantity\n2,2,2\n")
    stack.drain()
    assert stack.ledger(first) == [("loaded", None, 1)]
    key = stack.put("landing/stock/rotated.csv", "day_id,item,quantity\n1,1,1\n")
    with handler_environment(stack):
        monkeypatch.delenv("FLOE_WAREHOUSE__PASSFILE")
        loader.cache_clear()
        stack.handle()
        assert stack.ledger(key) == []
        secrets.put_secret_value(
            SecretId="floe/loader",
            SecretString=json.dumps({"FLOE_WAREHOUSE__PASSFILE": str(stack.warehouse.passfile)}),
        )
        stack.drain()
        assert stack.ledger(key) == [("loaded", None, 1)]
        monkeypatch.setenv("FLOE_WAREHOUSE__PASSFILE", str(stack.warehouse.passfile))
