"""The settings refuse what is missing or unsafe in production."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from blocks.settings import AlertSettings, MailSettings, Settings

PRODUCTION = {
    "FLOE_PROFILE": "aws",
    "FLOE_AIRBYTE__SERVER_URL": "https://airbyte.internal",
    "FLOE_AIRBYTE__CLIENT_ID": "floe",
    "FLOE_AIRBYTE__CLIENT_SECRET": "T0PSECRET",
    "FLOE_OBJECT_STORE__BUCKET": "landing",
    "FLOE_OBJECT_STORE__QUEUE_URL": "https://sqs.internal/1/events",
    "FLOE_OBJECT_STORE__DEAD_LETTER_QUEUE_URL": "https://sqs.internal/1/dead",
    "FLOE_OBJECT_STORE__REGION": "eu-central-1",
    "FLOE_WAREHOUSE__TYPE": "snowflake",
    "FLOE_WAREHOUSE__ACCOUNT": "a",
    "FLOE_WAREHOUSE__USER": "floe",
    "FLOE_WAREHOUSE__PRIVATE_KEY": "T0PSECRET",
    "FLOE_WAREHOUSE__ROLE": "floe",
    "FLOE_WAREHOUSE__WAREHOUSE": "floe",
    "FLOE_WAREHOUSE__DATABASE": "floe",
    "FLOE_ALERTS__WEBHOOK_URL": "https://hooks.internal/T0PSECRET",
    "PREFECT_API_AUTH_STRING": "admin:T0PSECRET",
}


def settings(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> Settings:
    for name, value in {**PRODUCTION, **changed}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    return Settings()


def test_production_settings_are_read_and_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    read = settings(monkeypatch)
    assert read.profile == "aws"
    assert "T0PSECRET" not in repr(read)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param(
            "PREFECT_API_AUTH_STRING", None, "needs PREFECT_API_AUTH_STRING", id="no password of Prefect"
        ),
        pytest.param("PREFECT_API_AUTH_STRING", "", "needs PREFECT_API_AUTH_STRING", id="an empty password"),
        pytest.param(
            "FLOE_AIRBYTE__SERVER_URL",
            "http://airbyte",
            "needs an https:// FLOE_AIRBYTE",
            id="airbyte in clear",
        ),
        pytest.param(
            "FLOE_ALERTS__WEBHOOK_URL",
            "http://hooks/1",
            "needs an https:// FLOE_ALERTS",
            id="alerts in clear",
        ),
        pytest.param(
            "FLOE_ALERTS__SLACK_URL", "http://hooks/1", "needs an https:// FLOE_ALERTS", id="slack in clear"
        ),
    ],
)
def test_unsafe_production_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(monkeypatch, **{name: value})


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"user": "floe"}, "user and password are set together", id="no password"),
        pytest.param({"security": "none"}, "must be encrypted", id="in clear"),
    ],
)
def test_unsafe_mail_settings_are_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        MailSettings(**{"host": "mail", "sender": "a@b.com", **fields})


def test_alerts_by_mail_need_a_mail_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="FLOE_ALERTS__RECIPIENTS needs FLOE_MAIL__HOST"):
        settings(monkeypatch, FLOE_ALERTS__RECIPIENTS='["a@b.com"]')


def test_nobody_is_told_unless_a_receiver_is_set() -> None:
    alerts = AlertSettings()
    assert (alerts.webhook_url, alerts.slack_url, alerts.recipients) == (None, None, [])
