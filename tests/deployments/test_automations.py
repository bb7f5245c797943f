"""The server's automations, as code, on a real Prefect server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import get_client
from prefect.events.schemas.automations import Automation

from blocks.errors import ConfigurationError
from deployments.automations import AUTOMATIONS_YAML, TAG, apply_automations, declared_automations

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
