"""A report as a mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from email.utils import format_datetime
from typing import cast

from blocks.dashboard_pages.moments import moment
from blocks.dashboard_reports import Format, rendered
from blocks.dashboard_reports.content import Report, figure_words


def message_of(
    report: Report, form: Format, *, sender: str, recipients: Sequence[str], message_id: str
) -> EmailMessage:
    """Return the mail that carries a report.

    As HTML the report is the mail itself, its pictures beside it; a picture or PDF is attached to a few
    words. Every mail can be read as plain text too.

    Args:
        report: what to send.
        form: how.
        sender: address that it comes from.
        recipients: addresses that it goes to.
        message_id: names this mail; the same mail sent again has the same.
    """
    message = EmailMessage(policy=SMTP)
    message["Subject"] = _line(f"{report.dashboard.title} – data as of {moment(report.as_of)}")
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    # RFC 3834: no out-of-office notes in answer.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(plain_text(report))
    if form is Format.HTML:
        _add_html(message, report)
    else:
        main, _, sub = form.content_type.partition("/")
        day = f"-{report.as_of:%Y-%m-%d}" if report.as_of else ""
        name = f"{report.dashboard.key}{day}.{form}"
        message.add_attachment(rendered(report, form), main, sub, filename=name)
    return message


def plain_text(report: Report) -> str:
    """Return what a report says in a few lines: its figures, and where the rest is."""
    board = report.dashboard
    lines = [board.title, board.description, f"Data as of {moment(report.as_of)}", ""]
    lines += [f"- {figure_words(each)}" for each in report.figures]
    lines += ["", f"Live, with filters: {report.link}"] if report.link else []
    return "\n".join([*lines, "", f"Owner: {board.owner}", ""])


def _add_html(message: EmailMessage, report: Report) -> None:
    from blocks.dashboard_reports.markup import html

    pictures: list[bytes] = []

    def beside(png: bytes) -> str:
        pictures.append(png)
        return f"cid:picture{len(pictures)}"

    message.add_alternative(html(report, beside), subtype="html")
    body = cast(list[MIMEPart], message.get_payload())[-1]
    for number, png in enumerate(pictures, start=1):
        body.add_related(png, "image", "png", cid=f"<picture{number}>", disposition="inline")


def _line(text: str) -> str:
    return " ".join(text.split())
