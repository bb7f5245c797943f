"""Logging in to Snowflake: keys, refusals, what is sent, and what is never shown."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from file_stack import FileStack
from scripted_server import Answer, scripted

from lambda_csv_loader.settings import SnowflakeSettings
from lambda_csv_loader.snowflake_writer import SnowflakeWriter
from lambda_csv_loader.writer import WarehouseRefused, WarehouseUnavailable, open_writer

pytestmark = pytest.mark.thorough


def refused(settings: SnowflakeSettings) -> WarehouseRefused:
    with pytest.raises(WarehouseRefused) as caught:
        SnowflakeWriter(settings).find("x")
    for secret in ("PRIVATE KEY", "not-a-secret", "MII"):
        assert secret not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "change",
    [{"private_key": "no key"}, {"private_key_passphrase": "wrong"}, {"private_key_passphrase": None}],
    ids=["no-key", "wrong-passphrase", "no-passphrase"],
)
def test_key_that_cannot_be_read(snowflake: SnowflakeSettings, change: dict[str, Any]) -> None:
    wrong = SnowflakeSettings.model_validate(snowflake.model_dump() | change)
    assert "private key cannot be read" in refused(wrong).what


LOGIN = "POST /session/v1/login-request"


def on_server(snowflake: SnowflakeSettings, url: str) -> SnowflakeSettings:
    return snowflake.model_copy(update={"port": int(url.rpartition(":")[2])})


@pytest.mark.parametrize(
    ("code", "message"),
    [("390144", "JWT token is invalid. [x]"), ("390189", "Role 'FLOE_LOADER' ... is not granted")],
    ids=["key", "role"],
)
def test_login_that_is_refused_is_permanent(snowflake: SnowflakeSettings, code: str, message: str) -> None:
    answer = Answer(body={"data": {}, "code": code, "message": message, "success": False})
    with scripted({LOGIN: [answer]}) as server:
        error = refused(on_server(snowflake, server.url))
        assert "refuses the login" in error.what
        assert server.times(LOGIN) == 1


def test_account_that_fails_is_tried_again_later(snowflake: SnowflakeSettings) -> None:
    with scripted({LOGIN: [Answer(503)]}) as server:
        settings = on_server(snowflake, server.url).model_copy(update={"login_timeout": 1})
        with pytest.raises(WarehouseUnavailable):
            SnowflakeWriter(settings).find("x")


def failure(code: str, message: str) -> Answer:
    return Answer(
        body={
            "data": {"errorCode": code, "sqlState": "x"},
            "code": code,
            "message": message,
            "success": False,
        }
    )


DENIED = failure("003001", "SQL access control error:\nInsufficient privileges to operate on schema 'OPS'.")
WELCOME = Answer(
    body={"data": {"token": "t", "masterToken": "m", "parameters": [], "sessionInfo": {}}, "success": True}
)
QUERY = "POST /queries/v1/query-request"
LOGOUT = {"POST /session": [Answer(body={"success": True})]}


def test_missing_privilege_names_the_grants(snowflake: SnowflakeSettings) -> None:
    with scripted({LOGIN: [WELCOME], QUERY: [DENIED], **LOGOUT}) as server:
        error = refused(on_server(snowflake, server.url))
        sent = json.loads(_body(server.bodies, LOGIN))["data"]
    assert "Insufficient privileges to operate on schema 'OPS'" in error.what
    assert error.next_command == "grant what lambda_csv_loader/snowflake_grants.sql lists"
    assert (sent["AUTHENTICATOR"], "PASSWORD" in sent) == ("SNOWFLAKE_JWT", False)
    parameters = sent["SESSION_PARAMETERS"]
    assert json.loads(parameters["QUERY_TAG"])["app"] == "floe"
    assert parameters["LOCK_TIMEOUT"] == 20


def test_login_that_ran_out_is_done_again_once(snowflake: SnowflakeSettings) -> None:
    over = failure("390114", "Authentication token has expired. The user must authenticate again.")
    with scripted({LOGIN: [WELCOME], QUERY: [over, over, DENIED], **LOGOUT}) as server:
        refused(on_server(snowflake, server.url))
        assert server.times(LOGIN) == 2


def _body(bodies: list[tuple[str, Any]], call: str) -> bytes:
    content: bytes = next(body for name, body in bodies if name == call)
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def test_plain_http_is_for_this_machine_only(snowflake: SnowflakeSettings) -> None:
    with pytest.raises(ValueError, match=r"emulator on 127\.0\.0\.1 only"):
        SnowflakeSettings.model_validate(snowflake.model_dump() | {"host": "example.org"})


def test_settings_choose_the_writer(snowflake_stack: FileStack) -> None:
    settings = snowflake_stack.settings()
    assert isinstance(open_writer(settings), SnowflakeWriter)
    assert "PRIVATE KEY" not in repr(settings)
