"""The endpoint that Prometheus scrapes.

Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/ (written by
prometheus_client, Prometheus' own library).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from typing import NamedTuple
from wsgiref.simple_server import WSGIServer

import httpx
from prefect import get_client
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from blocks.errors import ConfigurationError, FloeError
from blocks.settings import Settings
from deployments.connection import ConnectionDeclaration
from deployments.metrics.data import DataMetrics
from deployments.metrics.runs import RunMetrics


class Endpoint(NamedTuple):
    """A served endpoint: where it is, and what ends it."""

    url: str
    server: WSGIServer
    thread: threading.Thread

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class FloeMetrics(Collector):
    """Everything that a scrape returns; what does not answer is told by `floe_up`, and hides nothing else."""

    def __init__(self, runs: RunMetrics, data: DataMetrics) -> None:
        self._runs, self._data = runs, data
        # Scrapes are answered in threads of their own, and Prefect's settings belong to the caller's context.
        self._one_at_a_time, self._context = threading.Lock(), copy_context()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        up = GaugeMetricFamily("floe_up", "1 where a system answered, else 0.", labels=["system"])
        with self._one_at_a_time:
            for system, read in (
                ("prefect", self._of_runs),
                ("warehouse", lambda: self._data.of_warehouse(self._runs.ended)),
                ("queue", self._data.of_queues),
            ):
                metrics = self._context.run(_answered, read)
                up.add_metric([system], float(metrics is not None))
                yield from metrics or ()
        yield up

    def _of_runs(self) -> list[Metric]:
        with get_client(sync_client=True) as client:
            return self._runs.read(client)


def _answered(read: Callable[[], list[Metric]]) -> list[Metric] | None:
    try:
        return read()
    except (FloeError, httpx.HTTPError):
        return None


def serve(
    settings: Settings, declarations: Sequence[ConnectionDeclaration], host: str, port: int
) -> Endpoint:
    """Serve the metrics until the endpoint is closed.

    Args:
        settings: which warehouse and which queues.
        declarations: the connections, whose streams are shown.
        host: address to listen on.
        port: 0 takes a free one.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FloeMetrics(RunMetrics(), DataMetrics(settings, declarations)))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(
            f"Metrics cannot be served on {host}:{port}: {error.strerror or error}",
            state="nothing was started",
            next_command="floe metrics --port <another>",
        ) from None
    return Endpoint(f"http://{host}:{server.server_port}/metrics", server, thread)
