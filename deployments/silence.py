"""What runs said while no Prefect server listened: nothing that could be held against them.

Prefect measures their silence by the clock. A server that was away for longer than they may be silent would
call every living run crashed as soon as it is started again, and start others beside them.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.server.database import provide_database_interface
from sqlalchemy.exc import DBAPIError

from deployments.automations import declared_automations


async def begin_anew() -> None:
    """Let every silence that `automations.yaml` measures begin now; for a server that is about to start."""
    database = provide_database_interface()
    silence, automation = database.AutomationBucket, database.Automation
    engine = await database.engine()
    try:
        async with database.session_context(begin_transaction=True) as session:
            measured = await session.scalars(
                sa.select(silence)
                .join(automation, automation.id == silence.automation_id)
                .where(automation.name.in_(_measuring()))
            )
            for each in measured:
                each.end = datetime.now(UTC) + (each.end - each.start)
    except (DBAPIError, OSError):
        # A new database, or none: nothing is measured yet, or the server itself says what is wrong.
        return
    finally:
        await engine.dispose()


def _measuring() -> list[str]:
    declared = [(each.name, each.trigger) for each in declared_automations()]
    return [
        name
        for name, trigger in declared
        if isinstance(trigger, EventTrigger) and trigger.posture == Posture.Proactive
    ]
