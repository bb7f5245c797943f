"""In which order the Prefect server acts on events: Prefect's own, but for what a killed server knew.

An event that says that a run changed its state follows the event of the state before, and waits for it, 15
minutes at most. A server that is started again never gets those which its predecessor had: a run that
crashed with the server would be noticed 15 minutes late, and not at all when the server ends meanwhile.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from prefect.server.database import PrefectDBInterface, provide_database_interface
from prefect.server.events.ordering import memory
from prefect.server.events.schemas.events import ReceivedEvent

# Prefect imports this module when its server starts.
STARTED = datetime.now(UTC)


class CausalOrdering(memory.CausalOrdering):
    """Prefect's order, in which no event waits for one of a time before this server."""

    async def wait_for_leader(self, event: ReceivedEvent) -> None:
        """Let an event wait for the one that it follows, unless that one was there before this server.

        Raises:
            EventArrivedEarly: the one that it follows has not arrived; it is kept until then.
        """
        leader = event.follows
        if leader and not await self.event_has_been_seen(leader) and await _is_older(leader, STARTED):
            return
        await super().wait_for_leader(event)


async def _is_older(state: UUID, moment: datetime) -> bool:
    """Return whether a flow run had this state before; the event of a state has the state's id."""
    database: PrefectDBInterface = provide_database_interface()
    states = database.FlowRunState
    async with database.session_context() as session:
        found = await session.execute(sa.select(states.id).where(states.id == state, states.created < moment))
        return found.first() is not None
