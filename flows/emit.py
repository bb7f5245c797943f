"""The flow `emit`: tell Prefect of loaded files and ended syncs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import httpx
from prefect import flow, get_client
from prefect.artifacts import create_table_artifact

from blocks import outbox
from blocks.errors import ServiceUnavailable
from blocks.outbox import Happening
from blocks.warehouse import Warehouse
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps


@flow(name="emit", flow_run_name="emit events")
def emit(first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS) -> dict[str, int]:
    """Tell Prefect of every loaded or refused file and every ended sync that it was not told of yet.

    Events are `floe.file.loaded`, `floe.file.quarantined`, `floe.sync.succeeded`, `floe.sync.failed` and
    `floe.sync.cancelled`, on resources `floe.dataset.<name>` and `floe.source.<name>`; `transform/marts` is
    started by them (`prefect.yaml`). Each is told at least once; one that is told again has the same id.

    Args:
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Returns:
        How many events of each name were told.

    Raises:
        WarehouseUnavailable, ServiceUnavailable: no answer, several times in a row.
    """
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    told: Counter[str] = Counter()

    def tell(batch: Sequence[Happening]) -> None:
        _post(batch)
        told.update(happening.event for happening in batch)

    def work() -> None:
        with warehouse.connect() as database:
            outbox.empty(database, tell)

    Steps(first_pause_seconds).run("tell what happened", work)
    if told:
        create_table_artifact(
            key="emitted",
            description="Events told to Prefect",
            table=[{"event": event, "count": count} for event, count in sorted(told.items())],
        )
    return dict(told)


def _post(batch: Sequence[Happening]) -> None:
    """Hand events to the server and wait for its receipt, which Prefect's own emitter does not."""
    now = datetime.now(UTC)
    try:
        with get_client(sync_client=True) as client:
            documents = [happening.document(now) for happening in batch]
            client.request("POST", "/events", json=documents)
    except httpx.HTTPError as error:
        raise ServiceUnavailable(
            f"The Prefect server did not take {len(batch)} events: {error or type(error).__name__}",
            state="they are told by the next run",
            next_command="floe run emit/outbox",
        ) from None
