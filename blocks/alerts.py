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

from blocks.settings import AlertSettings, MailSettings

WEBHOOK, SLACK, MAIL = "alerts-webhook", "alerts-slack", "alerts-mail"
SCHEMES = {"none": "mailto", "starttls": "mailtos", "tls": "mailtos"}


# Prefect has no block for SMTP. Slack's hands every URL that is not Slack's to Apprise, which speaks it
# (tests/deployments/test_alerts.py would notice a change).
RECEIVERS: dict[str, type[Block]] = {WEBHOOK: Webhook, SLACK: Webhook, MAIL: SlackWebhook}


def receivers(alerts: AlertSettings) -> dict[str, type[Block]]:
    """Return the kind of block of each receiver that the settings name, by document name."""
    named = {WEBHOOK: alerts.webhook_url, SLACK: alerts.slack_url, MAIL: alerts.recipients}
    return {name: RECEIVERS[name] for name, setting in named.items() if setting}


def alert_blocks(alerts: AlertSettings, mail: MailSettings | None) -> dict[str, Block]:
    """Return the block of each receiver, by document name.

    Args:
        alerts: who is told.
        mail: through which server, where there are recipients.
    """
    blocks: dict[str, Block] = {}
    if alerts.webhook_url is not None:
        blocks[WEBHOOK] = _posting_json(alerts.webhook_url)
    if alerts.slack_url is not None:
        blocks[SLACK] = _posting_json(alerts.slack_url)
    if alerts.recipients and mail is not None:
        blocks[MAIL] = SlackWebhook(url=SecretStr(_mail_url(mail, alerts.recipients)))
    return blocks


def _posting_json(url: SecretStr) -> Webhook:
    return Webhook(url=url, headers=SecretDict({"Content-Type": "application/json"}))


def _mail_url(mail: MailSettings, recipients: list[str]) -> str:
    """Return the settings as Apprise takes them: https://github.com/caronc/apprise/wiki/Notify_email."""
    account = ""
    if mail.user is not None and mail.password is not None:
        account = f"{quote(mail.user, safe='')}:{quote(mail.password.get_secret_value(), safe='')}@"
    options = {"from": mail.sender, "to": ",".join(recipients), "format": "text"}
    if mail.security == "tls":
        options["mode"] = "ssl"
    return f"{SCHEMES[mail.security]}://{account}{mail.host}:{mail.port}/?{urlencode(options)}"
