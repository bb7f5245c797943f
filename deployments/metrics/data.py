"""How fresh and how whole the data is, as Prometheus metrics read from the warehouse and the queues."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from blocks.errors import FloeError
from blocks.settings import Settings
from blocks.sync_log import stream_totals
from blocks.warehouse import Warehouse
from deployments.connection import ConnectionDeclaration
from deployments.data_status import ledger_counts
from lambda_csv_loader.queues import Queues
from lambda_csv_loader.writer import WarehouseUnavailable

RETRY_SECONDS = 60
_STREAM = ["source", "namespace", "stream"]


class DataMetrics:
    """Reads the warehouse only when something may have changed there.

    A scrape each 30 seconds would else keep a Snowflake warehouse awake, and paid for, day and night.
    """

    def __init__(self, settings: Settings, declarations: Sequence[ConnectionDeclaration]) -> None:
        """Keep what to read.

        Args:
            settings: which warehouse and which queues.
            declarations: the connections, whose streams are shown.
        """
        self._warehouse = Warehouse(target=settings.warehouse, reader_role=settings.reader_role)
        self._queues = Queues(settings.object_store)
        self._declarations = declarations
        self._kept: list[Metric] = []
        self._read_at: object = None
        self._failed_at = float("-inf")

    def of_warehouse(self, changes: object, clock: Callable[[], float] = time.monotonic) -> list[Metric]:
        """Return what the warehouse held when it was last read; read it first when `changes` is new.

        Args:
            changes: anything but None that is another value after a run has ended.
            clock: gives seconds.

        Raises:
            FloeError: it does not answer; it is asked again after a minute.
        """
        if changes != self._read_at and clock() - self._failed_at >= RETRY_SECONDS:
            try:
                self._kept = list(self._of_warehouse())
            except FloeError:
                self._failed_at = clock()
                raise
            self._read_at = changes
        elif changes != self._read_at:
            raise WarehouseUnavailable(
                "The warehouse did not answer a moment ago",
                state="it is asked again after a minute",
            )
        return self._kept

    def of_queues(self) -> list[Metric]:
        """Return how many messages wait.

        Raises:
            FloeError: the queues do not answer.
        """
        depths = self._queues.depths()
        family = GaugeMetricFamily(
            "floe_queue_messages", "Messages about files, by SQS's own approximate counts.", labels=["state"]
        )
        for state in ("visible", "in_flight", "dead"):
            family.add_metric([state], getattr(depths, state))
        return [family]

    def _of_warehouse(self) -> Iterator[Metric]:
        with self._warehouse.connect() as cursor:
            yield from self._of_streams(cursor)
            yield from _of_files(cursor)
        published = self._warehouse.last_publication()
        if published is not None:
            yield GaugeMetricFamily(
                "floe_marts_published_timestamp_seconds",
                "When the set of marts that readers see was published.",
                value=published.published_at.timestamp(),
            )

    def _of_streams(self, cursor: Any) -> Iterator[Metric]:
        synced = GaugeMetricFamily(
            "floe_stream_synced_timestamp_seconds",
            "When the last good sync of a stream ended.",
            labels=_STREAM,
        )
        allowed = GaugeMetricFamily(
            "floe_stream_fresh_within_seconds",
            "The age that the connection's file allows the last good sync of a stream.",
            labels=_STREAM,
        )
        rows = CounterMetricFamily(
            "floe_stream_rows_written", "Raw rows that the good syncs of a stream wrote.", labels=_STREAM
        )
        of_all = stream_totals(cursor)
        for declaration in self._declarations:
            totals = of_all.get(declaration.source, {})
            for stream in declaration.streams:
                labels = [declaration.source, stream.namespace, stream.name]
                within = stream.fresh_within or declaration.fresh_within
                allowed.add_metric(labels, within.total_seconds())
                if total := totals.get((stream.namespace, stream.name)):
                    synced.add_metric(labels, total.last_ended.timestamp())
                    rows.add_metric(labels, total.rows_written)
        yield from (synced, allowed, rows)


def _of_files(cursor: Any) -> Iterator[Metric]:
    files = GaugeMetricFamily(
        "floe_csv_files", "Files of a dataset in the ledger, by status.", labels=["dataset", "status"]
    )
    rows = GaugeMetricFamily(
        "floe_csv_rows", "Rows of a dataset's files in the ledger, by status.", labels=["dataset", "status"]
    )
    recorded = GaugeMetricFamily(
        "floe_csv_recorded_timestamp_seconds",
        "When a file of a dataset last got a status.",
        labels=["dataset", "status"],
    )
    for entry in ledger_counts(cursor):
        labels = [entry.dataset, entry.status]
        files.add_metric(labels, entry.files)
        rows.add_metric(labels, entry.rows)
        recorded.add_metric(labels, entry.newest.timestamp())
    yield from (files, rows, recorded)
