"""The flow `publish`: draw the dashboards from the marts that readers see now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact
from pydantic import BaseModel

from blocks.dashboards import Dashboards
from blocks.warehouse import Warehouse, unchanging

if TYPE_CHECKING:
    from blocks.dashboard_pages import RenderedPages


class PublishedCard(BaseModel):
    """What one card cost."""

    dashboard: str
    card: str
    rows: int
    choices: int
    seconds: float


class PublishResult(BaseModel):
    """What a publish wrote.

    Attributes:
        url: where people open the index.
        index: the file behind it.
        cards: every card with its rows (unfiltered), filter choices and the warehouse's seconds.
    """

    url: str
    index: Path
    cards: list[PublishedCard]


@flow(name="publish", flow_run_name="publish dashboards")
def publish() -> PublishResult:
    """Draw every dashboard anew; a card that fails leaves the pages as they were.

    Raises:
        InvalidDashboard: a dashboard file is wrong.
        CardFailed: a card's query cannot run on the marts; the message names the card's owner.
        CardUnanswered: the warehouse stopped answering.
    """
    # Here, not at the top: every flow run is a new process that imports all flows.
    from blocks.dashboard_files import DASHBOARDS, load_dashboards
    from blocks.dashboard_pages import on_cursor, render_pages

    definitions = load_dashboards(DASHBOARDS)
    target = cast(Dashboards, Dashboards.load("dashboards"))
    folder = target.folder()
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    with warehouse.connect(read_only=True) as cursor, unchanging(cursor):
        rendered = render_pages(definitions, on_cursor(cursor), folder)
    return _report(rendered, target.address())


def _report(rendered: RenderedPages, url: str) -> PublishResult:
    cards = [
        PublishedCard(
            dashboard=card.dashboard,
            card=card.card,
            rows=card.rows,
            choices=card.choices,
            seconds=round(card.seconds, 3),
        )
        for card in rendered.cards
    ]
    create_link_artifact(key="dashboards", link=url, link_text="Dashboards", description="The dashboards")
    create_table_artifact(
        key="dashboard-cards",
        description="Every card: rows without a filter, choices of its filters, the warehouse's seconds",
        table=[card.model_dump() for card in sorted(cards, key=lambda card: -card.seconds)],
    )
    return PublishResult(url=url, index=rendered.index, cards=cards)
