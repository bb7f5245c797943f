"""The flow `reconcile`: compare the replicated tables of one source with the source, and repair them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, cast

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from pydantic import BaseModel, Field

from blocks import reconciliations
from blocks.errors import PermanentError
from blocks.open_sides import OpenSides
from blocks.reconcile import DifferencesFound, is_due, reconcile_stream
from blocks.reconcile_plan import PlannedStream, ReconcilePlan, plan_name
from blocks.reconciliations import Reconciliation
from blocks.source_database import SourceDatabase
from blocks.warehouse import Warehouse
from flows.retries import FIRST_PAUSE_SECONDS, FirstPauseSeconds, Steps

# What becomes of a stream that a run's window does not fit.
NO_WINDOW = "no window: its cursor is neither a date nor a timestamp"


class StreamsDiffer(PermanentError):
    """Some streams of a source could not be reconciled; the others were."""


class ReconcileResult(BaseModel):
    """What a reconciliation found and did.

    Attributes:
        source: the name of the connection.
        streams: what was found, per stream that was compared.
        left_out: why the others were not compared, by stream.
    """

    source: str
    streams: list[Reconciliation]
    left_out: dict[str, str]


@flow(name="reconcile", flow_run_name="reconcile {source}")
def reconcile(
    source: str,
    only_when_due: bool = False,
    streams: list[str] | None = None,
    window_days: Annotated[float, Field(ge=1)] | None = None,
    first_pause_seconds: FirstPauseSeconds = FIRST_PAUSE_SECONDS,
) -> ReconcileResult:
    """Find the rows that replication missed, and those deleted at the source, and repair them.

    Every row up to the newest replicated one is compared; repairs go to `__floe_repairs_<table>` beside
    the raw table, which dbt's staging merges. A second run finds nothing. Each stream is a step of its
    own, tried again with new connections when a database did not answer.

    Args:
        source: the database to compare, by the name of its connection
        only_when_due: leave out streams that were compared within their `compare_every`
        streams: only these, as `schema.table` or `table`; all of them when left out
        window_days: only rows whose cursor is at most so many days older than the newest; as declared when
            left out. A stream whose cursor is neither a date nor a timestamp is compared as a whole. Such a
            comparison is not the one that is due by `compare_every`
        first_pause_seconds: before a step is tried again; each next pause is twice as long

    Raises:
        ConfigurationError: there is no stream of a name.
        StreamsDiffer: a stream cannot be compared or repaired, or differs and its policy is to fail.
        ServiceUnavailable: the source does not answer, several times in a row.
        WarehouseUnavailable: the warehouse does not.
    """
    plan = cast(ReconcilePlan, ReconcilePlan.load(plan_name(source)))
    database = cast(SourceDatabase, SourceDatabase.load(f"{source.replace('_', '-')}-source"))
    warehouse = cast(Warehouse, Warehouse.load("warehouse"))
    chosen = plan.chosen(streams)
    window = None if window_days is None else timedelta(days=window_days)
    left_out = {stream.full_name: why for stream in chosen if (why := stream.why_not)}
    compared = [stream for stream in chosen if stream.full_name not in left_out]
    done: list[Reconciliation] = []
    failed: dict[str, PermanentError] = {}
    steps = Steps(first_pause_seconds)
    with OpenSides(source, database, warehouse) as sides:
        read = steps.run("look at last comparisons", partial(_last_reads, sides)) if only_when_due else {}
        for stream in compared:
            if not is_due(stream, read.get(stream.full_name), datetime.now(UTC)):
                left_out[stream.full_name] = "compared not long ago"
                continue
            try:
                compare = partial(_reconcile, sides, stream, window)
                done.append(steps.run(f"reconcile {stream.full_name}", compare))
            except PermanentError as error:
                # The other streams are not worse for it; all that failed is told at the end.
                get_run_logger().error(str(error))
                failed[stream.full_name] = error
    _publish(source, done, left_out, failed, window_days)
    if failed:
        first = next(iter(failed.values()))
        raise StreamsDiffer(
            f"{source}: {len(failed)} of {len(compared)} streams are not reconciled: "
            + "; ".join(error.what for error in failed.values()),
            state=first.state,
            next_command=first.next_command,
        )
    return ReconcileResult(source=source, streams=done, left_out=left_out)


def _last_reads(open_sides: OpenSides) -> dict[str, datetime]:
    with open_sides.lent() as sides:
        return reconciliations.last_reads(sides.database, sides.dialect, sides.name)


def _reconcile(open_sides: OpenSides, stream: PlannedStream, window: timedelta | None) -> Reconciliation:
    # Repairs that a try has written are right: the next one finds only what is left.
    with open_sides.lent() as sides:
        done = reconcile_stream(sides, stream, window)
    if window is not None and done.asked_window_seconds is None:
        get_run_logger().info("%s: %s", stream.full_name, NO_WINDOW)
    return done


def _publish(
    source: str,
    done: list[Reconciliation],
    left_out: dict[str, str],
    failed: dict[str, PermanentError],
    window_days: float | None,
) -> None:
    found = [*done, *(error.found for error in failed.values() if isinstance(error, DifferencesFound))]
    rows = [_row(each.stream, each, _window_note(each, window_days)) for each in found]
    counted = {reconciliation.stream for reconciliation in found}
    rows += [_row(stream, None, f"not compared: {why}") for stream, why in left_out.items()]
    rows += [_row(stream, None, error.what) for stream, error in failed.items() if stream not in counted]
    create_table_artifact(
        key=f"reconcile-{source.replace('_', '-')}", table=rows, description=f"{source} against its source"
    )


def _window_note(found: Reconciliation, window_days: float | None) -> str:
    if window_days is None:
        return ""
    return NO_WINDOW if found.asked_window_seconds is None else f"compared within {window_days:g} days"


def _row(stream: str, found: Reconciliation | None, note: str) -> dict[str, object]:
    return {
        "stream": stream,
        "rows": found.source_rows if found else None,
        "missing": found.missing if found else None,
        "stale": found.stale if found else None,
        "deleted": found.deleted if found else None,
        "not yet due": found.not_yet_due if found else None,
        "repaired": found.repaired if found else None,
        "note": note,
    }
