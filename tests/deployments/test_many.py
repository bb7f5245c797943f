"""Hundreds of connections: what is listed is read page by page, and a screen stays a screen."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Completed, Running
from rich.console import Console

from deployments import data_status, status
from deployments.automations import TAG, apply_automations
from deployments.commands import connections
from deployments.data_status import Line
from deployments.provision_changes import Change
from deployments.run_bars import Bar, RunBars, shown_first
from deployments.run_progress import bars_of, descendants, print_tables
from deployments.status import LastRun

# More than a page of the server's lists.
PAGE, MANY = 200, 450


class Server:
    """A Prefect server with one run's children and their artifacts, which gives a page at a time."""

    def __init__(self, parent: UUID, children: list[FlowRun], artifacts: list[Any] | None = None) -> None:
        self._parent, self._children, self._artifacts = parent, children, artifacts or []
        self.asked_of: list[UUID] = []

    def read_flow_runs(
        self, *, flow_run_filter: FlowRunFilter, sort: object, limit: int = PAGE, offset: int = 0
    ) -> list[FlowRun]:
        wanted = flow_run_filter.parent_flow_run_id
        found = self._children if wanted and self._parent in (wanted.any_ or []) else []
        return found[offset : offset + min(limit, PAGE)]

    def read_artifacts(
        self, *, artifact_filter: ArtifactFilter, sort: object, limit: int = PAGE, offset: int = 0
    ) -> list[Any]:
        assert artifact_filter.flow_run_id is not None
        self.asked_of = artifact_filter.flow_run_id.any_ or []
        found = [each for each in self._artifacts if each.flow_run_id in self.asked_of]
        return found[offset : offset + min(limit, PAGE)]


def run(name: str, state: State) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name=name, state=state)


def progress(of: FlowRun, created: int) -> Any:
    return SimpleNamespace(
        id=uuid4(), flow_run_id=of.id, data=100.0, key="k", description="rows", created=created
    )


def test_every_child_of_a_run_is_found_and_every_bar_of_theirs() -> None:
    parent = run("elt", Running())
    children = [run(f"replicate s{number}", Completed()) for number in range(MANY)]
    server = Server(parent.id, children, [progress(child, number) for number, child in enumerate(children)])
    client = cast(SyncPrefectClient, server)

    found = descendants(client, parent.id)

    assert {each.id for each in found} == {each.id for each in children}
    bars = bars_of(client, [parent, *found], set())
    assert (sum(bar.is_run for bar in bars), sum(not bar.is_run for bar in bars)) == (MANY + 1, MANY)


def test_the_bars_of_runs_that_had_ended_are_not_asked_for_again() -> None:
    parent, moving = run("elt", Running()), run("replicate s1", Running())
    server = Server(parent.id, [])
    ended: set[UUID] = set()
    bars_of(cast(SyncPrefectClient, server), [parent, moving, run("replicate s2", Completed())], ended)
    bars_of(cast(SyncPrefectClient, server), [parent, moving, run("replicate s3", Completed())], ended)
    assert len(ended) == 2
    bars_of(cast(SyncPrefectClient, server), [parent, moving], ended)
    assert server.asked_of == [parent.id, moving.id]


@pytest.mark.thorough
def test_automations_beyond_the_first_page_are_not_made_again(prefect_server: None) -> None:
    declared = [
        AutomationCore.model_validate(
            {
                "name": f"alert: s{number:03} is stale",
                "tags": [TAG],
                "trigger": {"type": "event", "posture": "Reactive", "expect": ["a.test"], "within": 0},
                "actions": [{"type": "do-nothing"}],
            }
        )
        for number in range(PAGE + 1)
    ]
    try:
        assert len(apply_automations(declared)) == PAGE + 1
        assert apply_automations(declared) == []
        assert apply_automations(declared[:1]) == [f"{each.name}: removed" for each in declared[1:]]
    finally:
        apply_automations([])
        with get_client(sync_client=True) as client:
            for left in client.read_automations():
                if TAG in left.tags:
                    client.delete_automation(left.id)


def test_what_is_as_declared_is_counted_and_the_rest_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    changes = [Change("connection", f"s{number}", "none", note="somebody") for number in range(MANY)]
    changes += [
        Change("connection", "new", "create"),
        Change("source", "other", "none", note="not declared, left alone"),
    ]
    connections.show(changes)
    assert capsys.readouterr().out.splitlines() == [
        "+ connection new",
        "  source other (not declared, left alone)",
        f"  {MANY} as declared",
        "1 to change",
    ]
    connections.show(changes[:2])
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_deployments_that_completed_are_one_line_and_the_others_are_shown() -> None:
    good = [
        LastRun(f"replicate/s{number}", "2026-01-02 03:04:05", "Completed", "7") for number in range(MANY)
    ]
    bad = LastRun("replicate/bad", "2026-01-02 03:04:05", "Failed", "9")
    never = [LastRun(f"replicate/n{number}", "never", "", "") for number in range(MANY)]
    other = LastRun("transform/marts", "2026-01-02 03:04:05", "Completed", "60")
    assert list(status.few([*good, bad, *never, other])) == [
        bad,
        LastRun(f"replicate: {MANY} deployments", "2026-01-02 03:04:05 or later", "Completed", "up to 7"),
        LastRun(f"replicate: {MANY} deployments", "never", "", ""),
        other,
    ]


def test_sources_that_are_well_are_one_line_and_the_stale_ones_are_shown() -> None:
    good = [Line(f"source s{number}", "good", "fresh") for number in range(MANY)]
    stale = [Line(f"source x{number}", "bad", "stale") for number in range(30)]
    shown = list(data_status.few([*good, *stale]))
    assert shown == [*stale, Line(f"{MANY} sources", "good", f"s0, s1, s2 and {MANY - 3} more: fresh")]
    assert list(data_status.few(good[:3])) == good[:3]


def test_the_bars_fit_the_screen_and_what_failed_or_moves_comes_first() -> None:
    done = [Bar(f"done {number}", "x", 100, is_run=True) for number in range(MANY)]
    part, moving = Bar("part", "x", 10), Bar("moving", "x", 0, is_run=True)
    failed = Bar("failed", "x", 100, failed=True, is_run=True)
    shown = shown_first([*done, part, moving, failed], 4)
    assert shown == ["failed", "moving", "part", f"done {MANY - 1}"]
    assert shown_first(done[:3], 4) == ["done 0", "done 1", "done 2"]


def test_a_log_has_a_line_for_each_run_and_none_for_the_parts_of_hundreds() -> None:
    bars = [Bar(str(number), f"run {number}", 100, is_run=True) for number in range(MANY)]
    parts = [Bar(f"part {number}", f"part {number}", 100) for number in range(MANY)]
    log = StringIO()
    with RunBars(Console(file=log, width=100)) as shown:
        shown.show([*bars, *parts])
        shown.show([*bars, *parts])
    assert log.getvalue().splitlines() == [bar.text for bar in bars]


def test_of_tables_that_are_alike_only_the_first_are_printed() -> None:
    tables = [
        SimpleNamespace(key="k", description=f"Job {number}", data=[{"stream": "t", "rows": 1}])
        for number in range(MANY)
    ]
    other = SimpleNamespace(key="k", description="How the time divides", data=[{"step": "x", "seconds": 1}])
    screen = StringIO()
    print_tables([*tables, other], Console(file=screen, width=100))
    said = screen.getvalue()
    assert said.count("Job ") == 10
    assert "How the time divides" in said
    assert f"... and {MANY - 10} more tables of stream, rows in the Prefect UI" in said
