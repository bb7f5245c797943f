"""The flow `maintain`: what accumulates from day to day goes, what somebody needs stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, cast

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from blocks import run_history
from blocks.lake_upkeep import LakeUpkeep
from blocks.warehouse import Warehouse
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps
from flows.schedules import JitterSeconds, wait_for_jitter
from flows.slot import slot

Days = Annotated[float, Field(ge=1, description="at least 1, longer than any transaction")]


class MaintainResult(BaseModel):
    """What a maintenance freed.

    Attributes:
        warehouse: why nothing was done in the warehouse; None where something was.
        sets: published sets of marts that a rollback cannot reach any more.
        versions: versions of the lake that cannot be read any more.
        files_merged: small files that were merged.
        files_written: files that hold their rows now.
        tables_left: tables that were being changed, so that the next run merges their files.
        files_deleted: files that are gone.
        bytes_deleted: their size.
        files_waiting: files that go when no transaction can read them any more.
        bytes_waiting: their size.
        catalog_tables: tables of the lake's catalog that were vacuumed.
        runs: flow runs that are gone from the Prefect server, with their task runs and logs.
        artifacts: their artifacts.
        results: files that these runs had kept to go on with, and that are gone.
        result_bytes: their size.
        results_elsewhere: results of these runs that another storage has, and is left to end.
    """

    warehouse: str | None = None
    sets: int = 0
    versions: int = 0
    files_merged: int = 0
    files_written: int = 0
    tables_left: int = 0
    files_deleted: int = 0
    bytes_deleted: int = 0
    files_waiting: int = 0
    bytes_waiting: int = 0
    catalog_tables: int = 0
    runs: int = 0
    artifacts: int = 0
    results: int = 0
    result_bytes: int = 0
    results_elsewhere: int = 0


@flow(name="maintain", flow_run_name="maintain")
def maintain(
    keep_days: Days = 7,
    keep_runs_days: Days = 30,
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
    jitter_seconds: JitterSeconds = 0,
) -> MaintainResult:
    """Merge small files, end old versions, delete files that nothing needs, remove old runs.

    The published marts, the set that `floe marts rollback` would show, and every version that a view names
    stay however old they are. Files go a day after the last version that needs them, so that nobody who
    reads or writes meanwhile misses one. Versions and files wait for a build of the marts to end, since dbt
    does not try again when a table was compacted under it; all else runs beside anything.

    Args:
        keep_days: versions of the lake and published sets younger than this stay
        keep_runs_days: runs of Floe's deployments that ended within this time stay, and each one's last run,
            with the results that a retry goes on with
        first_pause_seconds: before a step is tried again; each next pause is twice as long
        jitter_seconds: a run of a schedule waits so long at most before it begins

    Raises:
        WarehouseUnavailable: the warehouse did not answer, several times in a row.
        ServiceUnavailable: the lake's catalog or the Prefect server did not.
        ConfigurationError: a result of an old run may not be removed.
    """
    wait_for_jitter(jitter_seconds)
    steps, now = Steps(first_pause_seconds), datetime.now(UTC)
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    result = MaintainResult(warehouse=warehouse.keeps_itself())
    if result.warehouse is None:
        with warehouse.upkeep() as upkeep:
            result = _keep(upkeep, steps, now - timedelta(days=keep_days))
    else:
        get_run_logger().info(result.warehouse)
    ended_before = now - timedelta(days=keep_runs_days)
    pruned = steps.run("remove old runs", partial(run_history.prune, ended_before))
    result = result.model_copy(update=pruned._asdict())
    if result.results_elsewhere:
        get_run_logger().warning(
            "%s results of old runs are left to the storage that has them, as it is not on this host",
            result.results_elsewhere,
        )
    _publish(result)
    return result


def _keep(upkeep: LakeUpkeep, steps: Steps, before: datetime) -> MaintainResult:
    with slot("transform"):
        expired = steps.run("end old versions", partial(upkeep.expire, before))
        compacted = steps.run("merge small files", upkeep.compact)
    deleted = steps.run("delete files", upkeep.delete_files)
    vacuumed = steps.run("vacuum the catalog", upkeep.vacuum)
    return MaintainResult(
        sets=expired.sets,
        versions=expired.versions,
        files_merged=compacted.merged,
        files_written=compacted.into,
        tables_left=compacted.left,
        files_deleted=deleted.files,
        bytes_deleted=deleted.bytes,
        files_waiting=deleted.waiting,
        bytes_waiting=deleted.waiting_bytes,
        catalog_tables=vacuumed.tables,
    )


def _publish(result: MaintainResult) -> None:
    freed = [
        ("lake: published sets given up", result.sets, None),
        ("lake: versions ended", result.versions, None),
        (f"lake: small files merged into {result.files_written}", result.files_merged, None),
        ("lake: tables in use, left for the next run", result.tables_left, None),
        ("lake: files deleted", result.files_deleted, result.bytes_deleted),
        ("lake: files that go a day after they were replaced", result.files_waiting, result.bytes_waiting),
        ("lake: tables of the catalog vacuumed", result.catalog_tables, None),
    ]
    if result.warehouse is not None:
        freed = [(result.warehouse, 0, None)]
    freed += [
        ("Prefect: flow runs removed", result.runs, None),
        ("Prefect: artifacts removed", result.artifacts, None),
        ("Prefect: results removed", result.results, result.result_bytes),
    ]
    create_table_artifact(
        key="maintain",
        description="What was freed",
        table=[{"what": what, "count": count, "bytes": size} for what, count, size in freed],
    )
