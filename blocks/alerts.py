"""The blocks that the Prefect server sends alerts through, as far as the settings name a receiver.

All are Prefect's own, since the server itself loads them, without Floe's code. Slack's incoming webhooks
take JSON by POST like any other, so one kind of block serves both.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.blocks.webhook import Webhook
from prefect.types import SecretDict
from pydantic import SecretStr

from blocks.settings import AlertMailSettings, AlertSettings

WEBHOOK, SLACK, MAIL = "alerts-webhook", "alerts-slack", "alerts-mail"
SCHEMES = {"none": "mailto", "starttls": "mailtos", "ssl": "mailtos"}


def alert_blocks(settings: AlertSettings) -> dict[str, Block]:
    """Return the block of each receiver that the settings name, by document name."""
    blocks: dict[str, Block] = {}
    if settings.webhook_url is not None:
        blocks[WEBHOOK] = _posting_json(settings.webhook_url)
    if settings.slack_url is not None:
        blocks[SLACK] = _posting_json(settings.slack_url)
    if settings.mail is not None:
        # Prefect has no block for SMTP. This one hands every URL that is not Slack's to Apprise, which
        # speaks it (tests/deployments/test_alerts.py would notice a change).
        blocks[MAIL] = SlackWebhook(url=SecretStr(_mail_url(settings.mail)))
    return blocks


def _posting_json(url: SecretStr) -> Webhook:
    return Webhook(url=url, headers=SecretDict({"Content-Type": "application/json"}))


def _mail_url(mail: AlertMailSettings) -> str:
    """Return the settings as Apprise takes them: https://github.com/caronc/apprise/wiki/Notify_email."""
    account = ""
    if mail.user is not None and mail.password is not None:
        account = f"{quote(mail.user, safe='')}:{quote(mail.password.get_secret_value(), safe='')}@"
    options = {"from": mail.sender, "to": ",".join(mail.recipients), "format": "text"}
    if mail.encryption == "ssl":
        options["mode"] = "ssl"
    return f"{SCHEMES[mail.encryption]}://{account}{mail.host}:{mail.port}/?{urlencode(options)}"
