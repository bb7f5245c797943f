"""The flow `report`: a dashboard as a file, put into the object store or mailed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, cast

from prefect import flow
from prefect.artifacts import create_link_artifact
from prefect.context import get_run_context
from prefect.logging import get_run_logger
from pydantic import BaseModel

from blocks.dashboards import Dashboards
from blocks.mail import MailServer
from blocks.object_store import LandingBucket
from blocks.warehouse import Warehouse, unchanging
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps
from flows.schedules import JitterSeconds, wait_for_jitter

if TYPE_CHECKING:
    from blocks.dashboard_definitions import Dashboard
    from blocks.dashboard_reports import Format, Report


class ReportResult(BaseModel):
    """What became of a report.

    Attributes:
        dashboard: which.
        sent_to: the object's key, or the addresses.
    """

    dashboard: str
    sent_to: list[str]


@flow(name="report", flow_run_name="report {dashboard}")
def report(
    dashboard: str,
    format: Literal["html", "png", "pdf"] = "pdf",  # noqa: A002 - it is what people call it
    send_by: Literal["store", "mail"] = "store",
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
    jitter_seconds: JitterSeconds = 0,
) -> ReportResult:
    """Draw a dashboard from the marts that readers see now, and send it.

    Args:
        dashboard: its key, the name of its file in deployments/dashboards
        format: html is the mail itself, png and pdf are attached to one
        send_by: store writes reports/<dashboard>/<date>.<format> into the bucket, mail goes to the
            dashboard's `recipients`, or to its owner
        first_pause_seconds: before a step is tried again; each next pause is twice as long
        jitter_seconds: a run of a schedule waits so long at most before it begins

    Raises:
        ConfigurationError: there is no such dashboard, or no mail server is set.
        CardFailed: a card's query cannot run on the marts; the message names the card's owner.
        CardUnanswered: the warehouse stopped answering, several times.
        MailRefused: the mail server refused the mail or a recipient.
        MailUnavailable: the mail server did not answer, several times.
        StoreUnavailable: the object store did not answer, several times.
    """
    # Here, not at the top: every flow run is a new process that imports all flows.
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dashboard_reports import Format, dashboard_named

    wait_for_jitter(jitter_seconds)
    form, steps = Format(format), Steps(first_pause_seconds)
    definition = dashboard_named(load_dashboards(DASHBOARDS), dashboard)
    # Before the warehouse is asked for anything: a mail that cannot be sent needs no drawing.
    server = cast(MailServer, MailServer.load("mail")) if send_by == "mail" else None
    content = steps.run("ask the marts", lambda: _asked(definition))
    if server is None:
        return ReportResult(dashboard=dashboard, sent_to=[_store(content, form, steps)])
    return ReportResult(dashboard=dashboard, sent_to=_mail(content, form, server, steps))


def _asked(definition: Dashboard) -> Report:
    from blocks.dashboard_pages import on_cursor
    from blocks.dashboard_reports import report_of

    link = cast(Dashboards, Dashboards.load("dashboards")).page(definition.key)
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    with warehouse.connect(read_only=True) as cursor, unchanging(cursor):
        return report_of(definition, on_cursor(cursor), link)


def _store(content: Report, form: Format, steps: Steps) -> str:
    from blocks.dashboard_reports import rendered

    bucket = cast(LandingBucket, LandingBucket.load("landing"))
    key = f"reports/{content.dashboard.key}/{datetime.now(UTC):%Y-%m-%d}.{form}"
    file = rendered(content, form)
    steps.run("write the object", lambda: bucket.write(key, file, form.content_type))
    create_link_artifact(
        key=f"report-{content.dashboard.key.replace('_', '-')}",
        link=bucket.url(key),
        link_text=key,
        description=f"{content.dashboard.title}, {len(file):,} bytes",
    )
    return key


def _mail(content: Report, form: Format, server: MailServer, steps: Steps) -> list[str]:
    from blocks.dashboard_reports.message import message_of

    recipients = [*(content.dashboard.recipients or [content.dashboard.owner.email])]
    run = get_run_context().flow_run.id  # type: ignore[union-attr]
    message = message_of(
        content,
        form,
        sender=server.sender,
        recipients=recipients,
        message_id=f"{run}.{content.dashboard.key}",
    )
    steps.run("send the mail", lambda: server.send(message))
    get_run_logger().info("Mailed %s to %s", content.dashboard.title, ", ".join(recipients))
    return recipients
