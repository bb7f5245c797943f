"""How the runs of Floe's deployments end, as Prometheus metrics read from the Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily

from blocks.own_deployments import named, own_deployments
from blocks.server_pages import PAGE, all_pages

# A run that is found dead is given the end that it had, which is older than the look before.
LOOK_BACK = timedelta(minutes=30)
HISTORY_PAGES = 5
DURATIONS = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800)
_TERMINAL = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
_OPEN = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[each for each in StateType if each not in TERMINAL_STATES])
)


class RunMetrics:
    """Counts the runs that end while it watches, and knows how each deployment's last run ended.

    The counters begin at 0 with the process, as Prometheus expects: Prefect's history is pruned, so its
    length would go down. How the last runs ended is read from the history at first.
    """

    def __init__(self, started: datetime | None = None) -> None:
        """Watch from now on.

        Args:
            started: runs that ended before are not counted; now when None.
        """
        self._started = self._looked = started or datetime.now(UTC)
        self._registry = CollectorRegistry()
        self._runs = Counter(
            "floe_flow_runs",
            "Runs of a deployment that ended since this exporter started, by how they ended.",
            ["deployment", "state"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "floe_flow_run_duration_seconds",
            "How long the runs that ended were running, retries included.",
            ["deployment"],
            buckets=DURATIONS,
            registry=self._registry,
        )
        self._names: dict[UUID, str] = {}
        self._foreign: set[UUID] = set()
        self._last: dict[str, FlowRun] = {}
        self._last_good: dict[str, datetime] = {}
        self._seen: dict[UUID, datetime] = {}
        self.ended = 0

    def read(self, client: SyncPrefectClient) -> list[Metric]:
        """Return the metrics as they are now.

        Args:
            client: of the Prefect server.

        Raises:
            httpx.HTTPError: the server does not answer.
        """
        now = datetime.now(UTC)
        if not self._names:
            self._learn(client)
            self._remember_history(client)
        since = FlowRunFilterEndTime(after_=self._looked - LOOK_BACK)
        for run in all_pages(
            client.read_flow_runs,
            flow_run_filter=FlowRunFilter(state=_TERMINAL, end_time=since),
            sort=FlowRunSort.ID_DESC,
        ):
            self._count(client, run)
        self._looked = now
        self._seen = {run: end for run, end in self._seen.items() if end > now - 2 * LOOK_BACK}
        return [*self._registry.collect(), *self._last_runs(), self._open_runs(client, now)]

    def _learn(self, client: SyncPrefectClient) -> None:
        for name, deployment in named(client, own_deployments(client)):
            self._names[deployment.id] = name
            # From the start at 0: a first failure is an increase only over something.
            for state in TERMINAL_STATES:
                self._runs.labels(name, state.value.lower())

    def _remember_history(self, client: SyncPrefectClient) -> None:
        for page in range(HISTORY_PAGES):
            runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(state=_TERMINAL),
                sort=FlowRunSort.END_TIME_DESC,
                limit=PAGE,
                offset=page * PAGE,
            )
            for run in runs:
                self._remember(run)
            if len(runs) < PAGE or len(self._last) == len(self._names):
                return

    def _count(self, client: SyncPrefectClient, run: FlowRun) -> None:
        if run.id in self._seen or run.end_time is None or run.state is None:
            return
        name = self._name(client, run)
        self._seen[run.id] = run.end_time
        if name is None or run.end_time < self._started:
            return
        self._remember(run)
        self._runs.labels(name, run.state.type.value.lower()).inc()
        self._seconds.labels(name).observe(run.total_run_time.total_seconds())
        self.ended += 1

    def _name(self, client: SyncPrefectClient, run: FlowRun) -> str | None:
        """Return the deployment of a run, or None where it is not Floe's."""
        if run.deployment_id is None or run.deployment_id in self._foreign:
            return None
        if run.deployment_id not in self._names:
            self._learn(client)
            if run.deployment_id not in self._names:
                self._foreign.add(run.deployment_id)
        return self._names.get(run.deployment_id)

    def _remember(self, run: FlowRun) -> None:
        name = self._names.get(run.deployment_id) if run.deployment_id else None
        if name is None or run.end_time is None or run.state is None:
            return
        last = self._last.get(name)
        if last is None or last.end_time is None or last.end_time <= run.end_time:
            self._last[name] = run
        if run.state.is_completed():
            self._last_good[name] = max(run.end_time, self._last_good.get(name, run.end_time))

    def _last_runs(self) -> Iterator[Metric]:
        failed = GaugeMetricFamily(
            "floe_deployment_last_run_failed",
            "1 where the last run of a deployment failed or crashed, else 0.",
            labels=["deployment"],
        )
        seconds = GaugeMetricFamily(
            "floe_deployment_last_run_duration_seconds",
            "How long the last run of a deployment was running.",
            labels=["deployment"],
        )
        good = GaugeMetricFamily(
            "floe_deployment_last_success_timestamp_seconds",
            "When the last run of a deployment that completed ended.",
            labels=["deployment"],
        )
        for name, run in sorted(self._last.items()):
            bad = run.state is not None and (run.state.is_failed() or run.state.is_crashed())
            failed.add_metric([name], float(bad))
            seconds.add_metric([name], run.total_run_time.total_seconds())
        for name, ended in sorted(self._last_good.items()):
            good.add_metric([name], ended.timestamp())
        yield from (failed, seconds, good)

    def _open_runs(self, client: SyncPrefectClient, now: datetime) -> Metric:
        counts: dict[tuple[str, str], int] = {}
        due = FlowRunFilterExpectedStartTime(before_=now)
        for run in all_pages(
            client.read_flow_runs,
            flow_run_filter=FlowRunFilter(state=_OPEN, expected_start_time=due),
            sort=FlowRunSort.ID_DESC,
        ):
            name = self._name(client, run)
            if name is not None and run.state is not None:
                key = (name, (run.state.name or run.state.type.value).lower())
                counts[key] = counts.get(key, 0) + 1
        family = GaugeMetricFamily(
            "floe_flow_runs_open",
            "Runs of a deployment that are due and have not ended, by state.",
            labels=["deployment", "state"],
        )
        for key, count in sorted(counts.items()):
            family.add_metric(key, count)
        return family
