"""The flow `publish`: show the dashboards of the marts that readers see now, in Metabase or as pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from prefect import flow
from prefect.artifacts import create_link_artifact, create_table_artifact
from pydantic import BaseModel

from blocks.dashboards import Dashboards
from blocks.warehouse import Warehouse, unchanging
from flows.metabase_publication import MetabaseResult, publish_to_metabase
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps

if TYPE_CHECKING:
    from blocks.dashboard_definitions import Dashboard
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
        url: where people open the dashboards.
        index: the index of the pages; None where only Metabase shows them.
        cards: every card of the pages with its rows (unfiltered), filter choices and the warehouse's seconds.
        metabase: what was done in Metabase; None where there is none.
    """

    url: str
    index: Path | None = None
    cards: list[PublishedCard] = []
    metabase: MetabaseResult | None = None


@flow(name="publish", flow_run_name="publish dashboards")
def publish(first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS) -> PublishResult:
    """Show every dashboard anew, in Metabase, as pages or both, as the block `dashboards` says.

    A card that fails on the marts leaves both as they were.

    Args:
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Raises:
        InvalidDashboard: a dashboard file is wrong.
        CardFailed: a card's query cannot run on the marts; the message names the card's owner.
        CardUnanswered: the warehouse stopped answering, several times.
        WarehouseUnavailable: it did not answer at all, several times.
        MetabaseSyncLate: Metabase does not know the marts' columns in time.
        MetabaseCardsFail: Metabase cannot run a card; the message names the card's owner.
    """
    # Here, not at the top: every flow run is a new process that imports all flows.
    from blocks.dashboard_files import DASHBOARDS, load_dashboards

    steps = Steps(first_pause_seconds)
    definitions = load_dashboards(DASHBOARDS)
    target = cast(Dashboards, Dashboards.load("dashboards"))
    folder = None if target.metabase and target.pages_folder is None else target.folder()
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    rendered = steps.run("ask the marts", lambda: _asked(warehouse, definitions, folder))
    result = PublishResult(url=target.address()) if rendered is None else _report(rendered, target.address())
    if target.metabase is not None:
        result.metabase = publish_to_metabase(target.metabase, definitions, steps)
    return result


def _asked(
    warehouse: Warehouse, definitions: Sequence[Dashboard], folder: Path | None
) -> RenderedPages | None:
    """Ask the marts for every card: to draw the pages, or without a folder only to see that none fails."""
    from blocks.dashboard_checks import require_no_problem
    from blocks.dashboard_pages import on_cursor, render_pages

    with warehouse.connect(read_only=True) as cursor, unchanging(cursor):
        if folder is not None:
            return render_pages(definitions, on_cursor(cursor), folder)
        require_no_problem(definitions, on_cursor(cursor))
        return None


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
