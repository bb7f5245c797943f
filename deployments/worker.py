"""A Prefect process worker: `python -m deployments.worker --pool dbt-host --limit 4`.

The same as `prefect worker start --type process`, without importing every installed integration
first: that costs 5 seconds and 230 MB per worker, and these hosts are small.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Annotated

import typer
from prefect.client.schemas.objects import WorkerMetadata
from prefect.workers.process import ProcessWorker

from deployments.automations import HEARTBEAT_SECONDS
from deployments.slots import least_slots


def main(
    pool: Annotated[str, typer.Option(help="the work pool to take runs from")],
    limit: Annotated[int, typer.Option(min=1, help="flow runs at once")],
) -> None:
    """Take flow runs from a work pool and run each in a process of its own, until SIGTERM."""
    if limit < (least := least_slots(pool)):
        raise typer.BadParameter(
            f"{pool} needs --limit {least}: runs that wait for others in it could hold every slot, for ever"
        )
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", str(HEARTBEAT_SECONDS))
    asyncio.run(_work(pool, limit))


class LightWorker(ProcessWorker):
    """A process worker that does not list the installed integrations to the server.

    The list is for display only, and is made by importing every one of them.
    """

    async def _worker_metadata(self) -> WorkerMetadata | None:
        return None


async def _work(pool: str, limit: int) -> None:
    worker = LightWorker(work_pool_name=pool, name=pool, limit=limit, create_pool_if_not_found=False)
    work = asyncio.create_task(worker.start())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        return


if __name__ == "__main__":
    typer.run(main)
