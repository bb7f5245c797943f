"""The server's automations, as code, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter
from prefect.events.schemas.automations import Automation
from prefect.events.schemas.events import Event
from prefect.states import Failed, Pending, Running

from blocks.errors import ConfigurationError
from blocks.own_deployments import OURS
from deployments.automations import AUTOMATIONS_YAML, TAG, apply_automations, declared_automations
from tests.prefect_host import until

ONE = """
automations:
  - name: a test reacts
    description: {description}
    trigger:
      type: event
      posture: Reactive
      expect: [a.test]
      threshold: 1
      {extra}
    actions: [{{type: do-nothing}}]
"""


@pytest.fixture(autouse=True)
def clean(prefect_server: None) -> Iterator[None]:
    """Nothing of ours may stay on the server that tests share."""
    yield
    apply_automations([])


def declared(folder: Path, description: str = "one", extra: str = "within: 0") -> Path:
    file = folder / "automations.yaml"
    file.write_text(ONE.format(description=description, extra=extra))
    return file


def on_server() -> dict[str, Automation]:
    with get_client(sync_client=True) as client:
        return {each.name: each for each in client.read_automations() if TAG in each.tags}


def test_the_shipped_automations_are_made_and_a_second_time_nothing_changes() -> None:
    shipped = declared_automations(AUTOMATIONS_YAML)
    assert apply_automations(shipped) == [f"{each.name}: created" for each in shipped]
    assert apply_automations(shipped) == []
    assert set(on_server()) == {each.name for each in shipped}


def test_a_changed_one_is_updated_and_a_gone_one_removed(tmp_path: Path) -> None:
    apply_automations(declared_automations(declared(tmp_path)))
    changed = declared_automations(declared(tmp_path, description="two"))
    assert apply_automations(changed) == ["a test reacts: updated"]
    assert on_server()["a test reacts"].description == "two"
    assert apply_automations([]) == ["a test reacts: removed"]


def test_an_automation_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (foreign,) = declared_automations(declared(tmp_path))
    with get_client(sync_client=True) as client:
        made = client.create_automation(foreign.model_copy(update={"tags": []}))
        try:
            assert apply_automations([]) == []
            assert client.read_automation(made) is not None
        finally:
            client.delete_automation(made)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        pytest.param("withing: 5", "trigger.withing: no such field", id="misspelt"),
        pytest.param("within: soon", "trigger.event.within: Input should be a valid", id="wrong-type"),
    ],
)
def test_what_prefect_would_drop_or_refuse_is_named(tmp_path: Path, extra: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as caught:
        declared_automations(declared(tmp_path, extra=extra))
    assert "automation 'a test reacts'" in caught.value.what


@flow
def silent() -> None:
    """Stands for a flow whose process says nothing."""


def told(client: SyncPrefectClient, name: str, since: datetime) -> list[Event]:
    of = EventFilter(event=EventNameFilter(name=[name]), occurred=EventOccurredFilter(since=since))
    return client.read_events(filter=of, limit=50).events


@pytest.mark.thorough
def test_a_silent_run_of_ours_has_crashed_and_nobody_elses_nor_one_that_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "automations.yaml"
    shipped = AUTOMATIONS_YAML.read_text()
    assert shipped.count("within: 90") == shipped.count("within: 600") == 1
    file.write_text(shipped.replace("within: 90", "within: 10").replace("within: 600", "within: 10"))
    apply_automations(declared_automations(file))
    since = datetime.now(UTC)

    with get_client(sync_client=True) as client:

        def run_in(*states: State, tags: list[str]) -> Callable[[], str | None]:
            """Let a run come into these states, and return what says how it is then."""
            run = client.create_flow_run(silent, tags=tags)
            for state in states:
                client.set_flow_run_state(run.id, state)

            def name() -> str | None:
                state = client.read_flow_run(run.id).state
                return state and state.name

            return name

        # The first is others', so that it would be the first to be touched.
        others = [run_in(state, tags=["theirs"]) for state in (Running(), Pending())]
        timed_out = run_in(Running(), Failed(name="TimedOut"), tags=[OURS])
        ours = [run_in(state, tags=[OURS]) for state in (Running(), Pending())]
        until(lambda: [state() for state in ours] == ["Crashed", "Crashed"])
        assert ([state() for state in others], timed_out()) == (["Running", "Pending"], "TimedOut")
        # Nor did it try to touch what has ended, of which the server would tell as of a failed action.
        until(lambda: len(told(client, "prefect.automation.action.executed", since)) == 2)
        assert told(client, "prefect.automation.action.failed", since) == []
