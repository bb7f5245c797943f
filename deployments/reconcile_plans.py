"""The declared streams as `reconcile` needs to know them: one block per connection."""

from __future__ import annotations

from blocks.reconcile_plan import PlannedStream, ReconcilePlan
from deployments.connection import ConnectionDeclaration


def reconcile_plan(declaration: ConnectionDeclaration) -> ReconcilePlan:
    """Return the block of one connection, saved as `<source>-reconcile`."""
    return ReconcilePlan(
        source=declaration.source,
        streams=[
            PlannedStream(
                namespace=stream.namespace,
                name=stream.name,
                raw_schema=declaration.target_schema(stream),
                raw_table=declaration.target_table(stream),
                sync_mode=stream.sync_mode,
                primary_key=stream.primary_key,
                cursor=stream.cursor,
                columns=stream.columns,
                policy=declaration.repair_policy(stream),
            )
            for stream in declaration.streams
        ],
    )
