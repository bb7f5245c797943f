"""The part of the flow `publish` that a Metabase sees: sync, apply, run each card once, report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect.artifacts import create_link_artifact, create_table_artifact
from pydantic import BaseModel

from blocks.metabase_errors import MetabaseCardsFail
from blocks.metabase_settings import MetabaseTarget
from flows.retries import Steps

if TYPE_CHECKING:
    from blocks.dashboard_definitions import Dashboard
    from blocks.metabase import RanCard
    from blocks.metabase_plan import Change


class MetabaseResult(BaseModel):
    """What was done in Metabase.

    Attributes:
        changed: objects that were made, changed or archived.
        kept: objects that somebody changed in Metabase and that were left alone.
        cards: how many cards were run.
        slow: the cards that took longer than the block allows.
    """

    changed: int
    kept: list[str]
    cards: int
    slow: list[str]


def publish_to_metabase(
    target: MetabaseTarget, dashboards: Sequence[Dashboard], steps: Steps | None = None
) -> MetabaseResult:
    """Bring the dashboards into Metabase and run each card once.

    Args:
        target: which Metabase.
        dashboards: what it is to show; their SQL was checked on the marts.
        steps: how transient failures are tried again.

    Raises:
        MetabaseSyncLate: the marts' columns do not appear; the dashboards are as they were.
        MetabaseChangedByHand: something was changed by hand, and the block says "refuse".
        MetabaseCardsFail: a card cannot be run.
    """
    from blocks.dbt import PROJECT
    from blocks.metabase import Provisioner
    from blocks.metabase_client import MetabaseClient
    from blocks.metabase_fields import marts_of_project

    steps = steps or Steps()
    with MetabaseClient(target.url, target.api_key) as client:
        provisioner = Provisioner(
            client,
            target.database,
            target.names,
            dashboards,
            marts_of_project(PROJECT),
            drift=target.drift,
            sync_seconds=target.sync_seconds,
        )
        done = steps.run("sync and apply to Metabase", provisioner.apply)
        ran = steps.run("run the cards in Metabase", provisioner.run_cards)
    return _report(target, done, ran)


def _report(target: MetabaseTarget, done: list[Change], ran: list[RanCard]) -> MetabaseResult:
    changed = [change for change in done if change.action not in ("none", "keep")]
    kept = [change for change in done if change.action == "keep"]
    slow = [card for card in ran if card.seconds > target.slow_seconds]
    failed = [card for card in ran if card.error]
    create_link_artifact(
        key="metabase", link=target.url, link_text="Metabase", description="The dashboards in Metabase"
    )
    create_table_artifact(
        key="metabase-changes",
        description=f"{len(changed)} changed in Metabase, {len(kept)} changed there by hand and left alone",
        table=[_row(change) for change in [*kept, *changed]],
    )
    create_table_artifact(
        key="metabase-cards",
        description=f"Every card run once: {len(failed)} failed, {len(slow)} took longer than "
        f"{target.slow_seconds:g} s",
        table=[
            {
                "card": card.key,
                "owner": card.owner,
                "verdict": "failed" if card.error else "slow" if card in slow else "good",
                "rows": card.rows,
                "seconds": card.seconds,
                "error": card.error or "",
            }
            for card in sorted(ran, key=lambda card: (not card.error, -card.seconds))
        ],
    )
    if failed:
        named = "; ".join(f"{card.key} (owner {card.owner}): {card.error}" for card in failed)
        raise MetabaseCardsFail(
            f"{len(failed)} card(s) cannot be run in Metabase: {named}",
            state="the dashboards are applied; the cards that are named show an error",
            next_command="see what Metabase's role may read, then `floe run publish/metabase`",
        )
    return MetabaseResult(
        changed=len(changed),
        kept=[change.key for change in kept],
        cards=len(ran),
        slow=[card.key for card in slow],
    )


def _row(change: Change) -> dict[str, str]:
    return {
        "object": change.key or change.kind,
        "name": change.name,
        "action": change.action,
        "note": change.note,
        "details": "; ".join(change.details),
    }
